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

from goldenpath.histogram import Histogram
from goldenpath.lab.course import recovery_after_fault, recovery_after_load
from goldenpath.lab.facts import NOTHING, Facts, Value
from goldenpath.lab.level import Comparison
from goldenpath.lab.readings import (
    WARM_UP,
    a_second,
    all_violations,
    connections_peak,
    count,
    cpu,
    drift,
    left_behind,
    memory,
    memory_drift,
    memory_per_user,
    operations,
    peak,
    round_trip,
    runs,
    too_short_to_drift,
    worst_served,
)
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
    late: Callable[[Facts], float] | None = None
    """Of a time that somebody waited: how many seconds of it may be the generator's own lateness."""


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
    """Of somebody else's server its metrics may have been read, which say nothing of its processes."""
    if facts.manifest.watched or "memory_mb" in facts.target.highest:
        return ""
    return "the target's processes are not watched"


def _duration(name: str, head: str, match: re.Match[str]) -> Quantity:
    text, kind = DURATIONS[head]

    def statistic(durations: Histogram) -> float | None:
        if match["percent"]:
            return durations.percentile(float(match["percent"]))
        return durations.mean if match["word"] == "mean" else durations.highest

    def of(facts: Facts) -> Value:
        durations = facts.durations(head)
        return Value(statistic(durations), durations.count)

    word = f"{match['percent']} % of the times" if match["percent"] else f"the {match['word']} time"
    return Quantity(
        name=name,
        unit="s",
        better="<=",
        text=f"{word} {text}",
        of=of,
        without=_never(kind) if kind else lambda _: "",
        timed=True,
        late=lambda facts: statistic(facts.durations("lag")) or 0.0,
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


def _simple() -> list[Quantity]:
    less: Final = "<="
    more: Final = ">="

    sizes: dict[str, Callable[[Facts], float]] = {
        "runs": lambda facts: facts.timeline.attempts.get("ask", 0),
        "operations": operations,
        "users_served": lambda facts: facts.manifest.users,
        "connections_peak": lambda facts: facts.manifest.users,
        "runs_peak": lambda facts: peak("offered")(facts).value or 0.0,
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
            timed=unit == "/s" or name in ("drift", "worst_served", "recovery_seconds", "fault_recovery_seconds"),
        )

    return [
        quantity("violations", "", less, "how often anything was violated that a checker looks at", all_violations),
        quantity("runs", "", more, "how many runs ended well", count(runs)),
        quantity("operations", "", more, "how many operations began", count(operations)),
        quantity("users_served", "", more, "how many users got an answer", count(lambda f: len(f.measured.users))),
        quantity("connections_peak", "", more, "how many were open at once", count(connections_peak)),
        quantity("runs_per_second", "/s", more, "runs that ended well, over the whole load", a_second(runs)),
        quantity("events_per_second", "/s", more, "events, over the whole load", a_second(lambda f: f.measured.events)),
        quantity("runs_peak", "/s", more, "runs that ended well, in the best second", peak("completed")),
        quantity("events_peak", "/s", more, "events in the best second", peak("events")),
        quantity("drift", "ratio", less, "growth of the median first token, last quarter over first", drift),
        quantity(
            "worst_served", "ratio", less, "the worst-served user's median run over the middle user's", worst_served
        ),
        Quantity(
            name="left_behind",
            unit="ratio",
            better="<=",
            text="the same, 1 where the worst-served user's median run takes a second at most",
            of=left_behind,
            without=lambda facts: "" if facts.manifest.users > 1 else "there is nobody to compare with",
            timed=True,
        ),
        Quantity(
            name="recovery_seconds",
            unit="s",
            better="<=",
            text="from the end of the highest load until answers come as before it, and go on so for 5 s",
            of=lambda facts: Value(recovery_after_load(facts.timeline), 1),
            timed=True,
        ),
        Quantity(
            name="fault_recovery_seconds",
            unit="s",
            better="<=",
            text="from the end of the last fault until answers come as before the first, and go on so for 5 s",
            of=lambda facts: Value(recovery_after_fault(facts.timeline), 1),
            without=lambda facts: "" if facts.timeline.faults else "no fault was injected",
            timed=True,
        ),
        quantity("memory_start_mb", "MB", less, "memory before the load", memory(lambda start, _, __: start)),
        quantity("memory_peak_mb", "MB", less, "memory at its highest", memory(lambda _, peak, __: peak)),
        quantity("memory_end_mb", "MB", less, "memory in the end", memory(lambda _, __, end: end)),
        quantity("memory_growth_mb", "MB", less, "memory in the end less before", memory(lambda a, _, b: b - a)),
        quantity(
            "memory_growth_percent",
            "%",
            less,
            "the same, of what it was before",
            memory(lambda a, _, b: 100 * (b / a - 1)),
        ),
        Quantity(
            name="memory_drift_percent",
            unit="%",
            better="<=",
            text=f"memory in the end less after {WARM_UP:.0f} s of load, of what it was then",
            of=memory_drift,
            without=lambda facts: _unwatched(facts) or too_short_to_drift(facts),
        ),
        quantity("memory_per_user_mb", "MB", less, "memory at its highest less before, by user", memory_per_user),
        quantity(
            "memory_returned_percent",
            "%",
            more,
            "how much of what was taken at the highest was given back in the end",
            memory(lambda start, peak, end: 100 * (peak - end) / (peak - start) if peak - start >= 1 else 100.0),
        ),
        Quantity(
            name="round_trip_seconds",
            unit="s",
            better="<=",
            text="from opening a new connection to the target to its first bytes, asked once a second, at most",
            of=round_trip,
            without=lambda facts: "" if "round_trip" in facts.target.highest else "the target has no metrics to read",
            timed=True,
        ),
        quantity("cpu_percent", "%", less, "of all cores of the machine, on average", cpu(peak=False)),
        quantity("cpu_peak_percent", "%", less, "of all cores of the machine, at most", cpu(peak=True)),
    ]


SIMPLE: Final[Mapping[str, Quantity]] = {quantity.name: quantity for quantity in _simple()}
"""The words without a dot."""
