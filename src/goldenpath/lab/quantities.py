"""What can be measured of a run, by name: the vocabulary that service levels are written in.

`connect.p95`, `success_rate.login`, `violations.isolation`, `memory_growth_mb` ...; `find` says what a name means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import inf
from typing import Final, get_args

import msgspec

from goldenpath.lab.course import drift, recovery_after_fault, recovery_after_load
from goldenpath.lab.facts import NOTHING, Facts, Value
from goldenpath.lab.histogram import Histogram
from goldenpath.lab.level import Comparison
from goldenpath.lab.records import Kind


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """One word of the vocabulary."""

    name: str
    unit: str
    """`s`, `MB`, `%`, `/s`, `` (a count) or `ratio`."""
    better: Comparison
    """`<=`: less is better."""
    text: str
    of: Callable[[Facts], Value]
    without: Callable[[Facts], str] = lambda _: ""
    """Why it means nothing in this run, e.g. because nobody ever logged in; empty: it means something."""
    at_most: Callable[[Facts], float] = lambda _: inf
    """What a run of this size can reach: a level that asks for more does not apply to it."""
    timed: bool = False
    """Whether a generator that cannot keep up spoils it."""


class UnknownQuantity(ValueError):
    """There is no such word; the message names one that is similar."""


DURATIONS: Final[Mapping[str, tuple[str, Kind | None]]] = {
    "login": ("to log in", "login"),
    "connect": ("to open a connection", "connect"),
    "first_token": ("from asking to the first piece of the answer", None),
    "run": ("from asking to the end of the run", None),
    "final_delivery": ("from the last piece of an answer to the end of its run", None),
    "golden_path": ("to log in, to connect and to get the first answer", "login"),
    "history": ("to read a thread's messages", "history"),
    "threads": ("to list the user's threads", "threads"),
    "attach": ("to read a thread on after coming back", "attach"),
    "cancel": ("to cancel a run", "cancel"),
}
"""What takes time, and the operation without which there is none of it."""

_STATISTIC: Final = re.compile(r"(?:p(?P<percent>\d{1,2}(?:\.\d+)?)|(?P<word>mean|max))")
KINDS: Final = get_args(Kind)


def find(name: str) -> Quantity:
    """What a name means. Raises `UnknownQuantity`."""
    known = SIMPLE.get(name)
    if known is not None:
        return known
    head, _, rest = name.partition(".")
    if head in DURATIONS and (match := _STATISTIC.fullmatch(rest)):
        return _duration(name, head, match)
    if head == "violations" and rest:
        return _violations(name, *rest.split(".", 1))
    kind, _, code = rest.partition(".")
    if head in ("success_rate", "failure_rate") and (not rest or kind in KINDS):
        return _rate(name, head, kind, code)
    raise UnknownQuantity(f"{name!r} is nothing that is measured{_similar(name)}")


def _similar(name: str) -> str:
    head = name.partition(".")[0]
    words = [*SIMPLE, *(f"{duration}.p95" for duration in DURATIONS), "success_rate", "failure_rate", "violations"]
    similar = get_close_matches(name, words, n=1) or get_close_matches(head, words, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""


def _never(kind: str) -> Callable[[Facts], str]:
    """A target that cannot do it is not asked to; where it was asked and never did, that is unknown."""
    return lambda facts: f"nobody tried: {kind}" if facts.begun and kind not in facts.timeline.attempts else ""


def _unwatched(facts: Facts) -> str:
    if facts.manifest.watched or facts.target.count:
        return ""
    return "the target's processes are not watched"


def _duration(name: str, head: str, match: re.Match[str]) -> Quantity:
    text, kind = DURATIONS[head]

    def of(facts: Facts) -> Value:
        durations = facts.durations(head)
        if match["percent"]:
            return Value(durations.percentile(float(match["percent"])), durations.count)
        return Value(durations.mean if match["word"] == "mean" else durations.highest, durations.count)

    word = f"{match['percent']} % of the times" if match["percent"] else f"the {match['word']} time"
    return Quantity(
        name=name,
        unit="s",
        better="<=",
        text=f"{word} {text}",
        of=of,
        without=_never(kind) if kind else lambda _: "",
        timed=True,
    )


def _rate(name: str, head: str, kind: str, code: str) -> Quantity:
    def of(facts: Facts) -> Value:
        outcomes = facts.outcomes(kind or None)
        total = sum(outcomes.values())
        if not total:
            return NOTHING
        ok = outcomes.get("ok", 0)
        counted = ok if head == "success_rate" else outcomes.get(code, 0) if code else total - ok
        return Value(counted / total, total)

    what = f"operations ({kind})" if kind else "operations"
    words = "that were ok" if head == "success_rate" else f"that failed with {code}" if code else "that were not ok"
    return Quantity(
        name=name,
        unit="ratio",
        better=">=" if head == "success_rate" else "<=",
        text=f"the share of {what} {words}",
        of=of,
        without=_never(kind) if kind and kind != "ask" else lambda _: "",
    )


def _violations(name: str, checker: str, kind: str = "") -> Quantity:
    def of(facts: Facts) -> Value:
        finding = facts.findings.get(checker)
        if finding is None or not finding.checked or (finding.broken and not finding.counts):
            return NOTHING
        return Value(finding.counts.get(kind, 0) if kind else sum(finding.counts.values()), finding.checked)

    text = f"how often {checker} was violated" + (f" by: {kind}" if kind else "")
    return Quantity(name=name, unit="", better="<=", text=text, of=of)


def _all_violations(facts: Facts) -> Value:
    checked = sum(finding.checked for finding in facts.findings.values())
    return (
        Value(sum(sum(finding.counts.values()) for finding in facts.findings.values()), checked) if checked else NOTHING
    )


def _count(count: Callable[[Facts], float]) -> Callable[[Facts], Value]:
    return lambda facts: Value(count(facts), 1) if facts.begun else NOTHING


def _runs(facts: Facts) -> float:
    return facts.measured.outcomes.get("ask", {}).get("ok", 0)


def _a_second(count: Callable[[Facts], float]) -> Callable[[Facts], Value]:
    def of(facts: Facts) -> Value:
        seconds = facts.timeline.seconds
        return Value(count(facts) / seconds, 1) if facts.begun and seconds > 0 else NOTHING

    return of


def _peak(field: str) -> Callable[[Facts], Value]:
    """The most in a second (in a bin, where those have become longer)."""

    def of(facts: Facts) -> Value:
        timeline = facts.timeline
        sums: dict[int, int] = {}
        for number, each in timeline.bins.items():
            second = int(number * timeline.width // max(1.0, timeline.width))
            sums[second] = sums.get(second, 0) + getattr(each, field)
        return Value(max(sums.values()) / max(1.0, timeline.width), len(sums)) if sums else NOTHING

    return of


NOTICED: Final = 0.1
"""Seconds. Of two waits that are shorter nobody says which was the longer one."""
_GREEDY: Final = 2


def _fairness(facts: Facts) -> Value:
    """Users who ask for more than twice as much as others wait for themselves, and are not counted."""
    asked = sorted(facts.timeline.asked.values())
    usual = asked[len(asked) // 2] if asked else 0
    medians = sorted(
        max(NOTICED, Histogram.load(dump).percentile(50) or 0.0)
        for user, dump in facts.measured.users.items()
        if facts.timeline.asked.get(user, 0) <= _GREEDY * usual
    )
    if len(medians) < 2:
        return NOTHING
    return Value(medians[-1] / medians[len(medians) // 2], len(medians))


def _memory(read: Callable[[float, float, float], float | None]) -> Callable[[Facts], Value]:
    """Something of the memory at the beginning, at its highest and at the end."""

    def of(facts: Facts) -> Value:
        readings = [(at, figures["memory_mb"]) for at, figures in facts.target.kept if "memory_mb" in figures]
        if len(readings) < 2:
            return NOTHING
        begin = [memory for at, memory in readings if at <= 0][-1:] or [readings[0][1]]
        value = read(begin[0], max(facts.target.highest["memory_mb"], begin[0]), readings[-1][1])
        return Value(value, facts.target.count)

    return of


def _cpu(*, peak: bool) -> Callable[[Facts], Value]:
    def of(facts: Facts) -> Value:
        used = facts.target.highest.get("cpu_percent") if peak else facts.target.mean("cpu_percent")
        return Value(used / max(1, facts.manifest.cores), facts.target.count) if used is not None else NOTHING

    return of


def _simple() -> list[Quantity]:
    less: Final = "<="
    more: Final = ">="

    sizes: dict[str, Callable[[Facts], float]] = {
        "runs": lambda facts: facts.timeline.attempts.get("ask", 0),
        "operations": _operations,
        "users_served": lambda facts: facts.manifest.users,
        "connections_peak": lambda facts: facts.manifest.users,
        "runs_peak": lambda facts: _peak("offered")(facts).value or 0.0,
    }

    def quantity(name: str, unit: str, better: Comparison, text: str, of: Callable[[Facts], Value]) -> Quantity:
        watched = name.startswith(("memory", "cpu"))
        return Quantity(
            name=name,
            unit=unit,
            better=better,
            text=text,
            of=of,
            without=_unwatched if watched else lambda _: "",
            at_most=sizes.get(name, lambda _: inf),
            timed=unit == "/s" or name in ("drift", "fairness", "recovery_seconds", "fault_recovery_seconds"),
        )

    return [
        quantity("violations", "", less, "how often anything was violated that a checker looks at", _all_violations),
        quantity("runs", "", more, "how many runs ended well", _count(_runs)),
        quantity("operations", "", more, "how many operations began", _count(_operations)),
        quantity("users_served", "", more, "how many users got an answer", _count(lambda f: len(f.measured.users))),
        quantity("connections_peak", "", more, "how many were open at once", _count(_connections_peak)),
        quantity("runs_per_second", "/s", more, "runs that ended well, over the whole load", _a_second(_runs)),
        quantity(
            "events_per_second", "/s", more, "events, over the whole load", _a_second(lambda f: f.measured.events)
        ),
        quantity("runs_peak", "/s", more, "runs that ended well, in the best second", _peak("completed")),
        quantity("events_peak", "/s", more, "events in the best second", _peak("events")),
        quantity("drift", "ratio", less, "growth of the median first token, last quarter over first", _drift),
        quantity("fairness", "ratio", less, "the worst-served user's median run over the middle user's", _fairness),
        Quantity(
            name="recovery_seconds",
            unit="s",
            better="<=",
            text="from the end of the highest load until answers come as before it",
            of=lambda facts: Value(recovery_after_load(facts.timeline), 1),
            timed=True,
        ),
        Quantity(
            name="fault_recovery_seconds",
            unit="s",
            better="<=",
            text="from the end of the last fault until answers come as before the first",
            of=lambda facts: Value(recovery_after_fault(facts.timeline), 1),
            without=lambda facts: "" if facts.timeline.faults else "no fault was injected",
            timed=True,
        ),
        quantity("memory_start_mb", "MB", less, "memory before the load", _memory(lambda start, _, __: start)),
        quantity("memory_peak_mb", "MB", less, "memory at its highest", _memory(lambda _, peak, __: peak)),
        quantity("memory_end_mb", "MB", less, "memory in the end", _memory(lambda _, __, end: end)),
        quantity("memory_growth_mb", "MB", less, "memory in the end less before", _memory(lambda a, _, b: b - a)),
        quantity(
            "memory_growth_percent",
            "%",
            less,
            "the same, of what it was before",
            _memory(lambda a, _, b: 100 * (b / a - 1)),
        ),
        quantity("memory_per_user_mb", "MB", less, "memory at its highest less before, by user", _memory_per_user),
        quantity(
            "memory_returned_percent",
            "%",
            more,
            "how much of what was taken at the highest was given back in the end",
            _memory(lambda start, peak, end: 100 * (peak - end) / (peak - start) if peak - start >= 1 else 100.0),
        ),
        quantity("cpu_percent", "%", less, "of all cores of the machine, on average", _cpu(peak=False)),
        quantity("cpu_peak_percent", "%", less, "of all cores of the machine, at most", _cpu(peak=True)),
    ]


def _operations(facts: Facts) -> float:
    return sum(facts.timeline.attempts.values())


def _connections_peak(facts: Facts) -> float:
    return facts.timeline.connections_peak


def _drift(facts: Facts) -> Value:
    return Value(drift(facts.timeline, NOTICED), facts.timeline.runs)


def _memory_per_user(facts: Facts) -> Value:
    return _memory(lambda start, peak, _: (peak - start) / max(1, facts.manifest.users))(facts)


SIMPLE: Final[Mapping[str, Quantity]] = {quantity.name: quantity for quantity in _simple()}
"""The words without a dot."""
