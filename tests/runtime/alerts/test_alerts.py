"""The life of an alert, by a model that looks at the whole past at every look."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.alerts.alerts import HISTORY, AlertChange, Alerts, Reading
from goldenpath.runtime.alerts.rules import AlertRule

BOUND = 10.0
RULE = AlertRule(signal="lag", above=BOUND, hold=30.0, keep_firing_for=60.0, repeat_every=0.0)


class Watched:
    """One alert, looked at every few seconds."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        self.alerts = Alerts({"slow": rule})
        self.now = 0.0

    def look(self, value: float | None, after: float = 10.0) -> list[AlertChange]:
        self.now += after
        return self.alerts.look({"lag": Reading(value)}, now=self.now, time=1e9 + self.now)

    @property
    def state(self) -> str:
        return self.alerts.view()[0].state


def test_it_fires_when_the_signal_was_wrong_for_long_enough_and_ends_when_it_was_not() -> None:
    watched = Watched()
    assert watched.look(5.0) == []
    assert watched.state == "inactive"
    assert watched.look(11.0) == watched.look(11.0) == watched.look(12.0) == []
    assert watched.state == "pending"
    (fired,) = watched.look(13.0)
    assert (fired.state, fired.value, fired.bound) == ("firing", 13.0, "> 10")
    assert (fired.since, fired.at) == (1e9 + 20, 1e9 + 50)
    assert watched.look(5.0, after=59.0) == []
    (resolved,) = watched.look(5.0, after=1.0)
    assert (resolved.state, resolved.value, resolved.since) == ("resolved", 5.0, fired.since)
    assert list(watched.alerts.history) == [fired, resolved]
    assert watched.state == "inactive"


def test_a_signal_around_its_bound_does_not_flap() -> None:
    watched = Watched()
    changes = [change for step in range(1000) for change in watched.look(11.0 if step < 5 or step % 5 == 0 else 9.0)]
    assert [change.state for change in changes] == ["firing"]


def test_one_right_look_ends_pending() -> None:
    watched = Watched()
    for _ in range(100):
        assert watched.look(11.0) == watched.look(11.0) == watched.look(9.0) == []


def test_silence_is_neither_right_nor_wrong() -> None:
    watched = Watched()
    assert all(watched.look(None) == [] for _ in range(100))
    assert watched.look(11.0) == watched.look(11.0) == watched.look(None) == []
    assert watched.state == "inactive"
    for _ in range(4):
        watched.look(11.0)
    assert watched.state == "firing"
    silent = [change for _ in range(6) for change in watched.look(None)]
    assert [(change.state, change.value) for change in silent] == [("resolved", None)]


def test_with_no_time_to_hold_it_fires_at_the_first_look() -> None:
    watched = Watched(AlertRule(signal="lag", below=1.0, hold=0.0, keep_firing_for=0.0))
    assert [change.state for change in watched.look(0.5)] == ["firing"]
    assert [change.state for change in watched.look(1.0)] == ["resolved"]


def test_who_was_told_is_reminded() -> None:
    watched = Watched(AlertRule(signal="lag", above=BOUND, hold=0.0, repeat_every=100.0))
    told = [(watched.now, change.reminder) for _ in range(25) for change in watched.look(11.0)]
    assert told == [(10.0, False), (110.0, True), (210.0, True)]
    assert len(watched.alerts.history) == 1
    assert watched.alerts.statistics().fired == 1


def test_a_rule_that_is_off_is_not_looked_at() -> None:
    alerts = Alerts({"slow": AlertRule(signal="lag", above=1.0, off=True)})
    assert alerts.signals == frozenset()
    assert alerts.view() == []


def test_the_history_is_bounded_and_keeps_what_came_last() -> None:
    watched = Watched(AlertRule(signal="lag", above=BOUND, hold=0.0, keep_firing_for=0.0))
    for _ in range(HISTORY):
        watched.look(11.0)
        watched.look(9.0)
    assert len(watched.alerts.history) == HISTORY
    assert watched.alerts.history[-1].at == 1e9 + watched.now


def test_too_few_events_are_no_measurement() -> None:
    alerts = Alerts({"slow": AlertRule(signal="lag", above=0.05, hold=0.0, min_samples=20)})
    assert alerts.look({"lag": Reading(1.0, 19)}, now=0.0, time=0.0) == []
    assert alerts.view()[0].value is None
    assert [change.value for change in alerts.look({"lag": Reading(1.0, 20)}, now=1.0, time=1.0)] == [1.0]


def test_what_fires_stands_first() -> None:
    rules = {
        name: AlertRule(signal=name, above=1.0, hold=hold) for name, hold in (("a", 60.0), ("b", 60.0), ("c", 0.0))
    }
    alerts = Alerts(rules)
    alerts.look({"a": Reading(0.0), "b": Reading(2.0), "c": Reading(2.0)}, now=0.0, time=0.0)
    assert [(view.name, view.state) for view in alerts.view()] == [
        ("c", "firing"),
        ("b", "pending"),
        ("a", "inactive"),
    ]
    statistics = alerts.statistics()
    assert (statistics.pending, statistics.firing, statistics.fired, statistics.resolved) == (1, 1, 1, 0)


LOOKS = st.lists(
    st.tuples(st.floats(0.5, 40.0), st.one_of(st.none(), st.sampled_from([9.0, 10.0, 10.5, 99.0]))), max_size=60
)


@given(LOOKS, st.sampled_from([0.0, 20.0, 45.0]), st.sampled_from([0.0, 20.0, 45.0]))
def test_it_agrees_with_the_definition(looks: list[tuple[float, float | None]], hold: float, keep: float) -> None:
    """Fires exactly when not firing and every look of the last `hold` seconds since one at least so long ago was wrong;
    ends exactly when firing and no look of the last `keep` seconds was wrong."""
    watched = Watched(AlertRule(signal="lag", above=BOUND, hold=hold, keep_firing_for=keep, repeat_every=0.0))
    past: list[tuple[float, bool]] = []
    firing = False
    for after, value in looks:
        told = [change.state for change in watched.look(value, after)]
        past.append((watched.now, value is not None and value > BOUND))
        if not firing:
            run = _wrong_since(past)
            expected = ["firing"] if run is not None and watched.now - run >= hold else []
        else:
            last = max(at for at, wrong in past if wrong)
            expected = ["resolved"] if not past[-1][1] and watched.now - last >= keep else []
        assert told == expected
        if told:
            firing = told == ["firing"]


def _wrong_since(past: list[tuple[float, bool]]) -> float | None:
    """When the looks that were wrong without a break until now began."""
    since = None
    for at, wrong in reversed(past):
        if not wrong:
            break
        since = at
    return since
