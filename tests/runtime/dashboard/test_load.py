"""Which users cause the load of the last minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.dashboard.load import MEASURES, SLICE, SLICES, Load, Measure, UserLoad

EVENTS = st.lists(
    st.tuples(st.floats(0, 30), st.sampled_from(MEASURES), st.sampled_from("abc"), st.integers(0, 50)), max_size=60
)


@given(events=EVENTS, later=st.floats(0, 100))
def test_the_minute_holds_its_slices_and_nothing_older(
    events: list[tuple[float, Measure, str, int]], later: float
) -> None:
    load, now, moments = Load(), 0.0, []
    for pause, measure, user, weight in events:
        now += pause
        load.add(measure, user, weight, now)
        moments.append((now, measure, user, weight))
    now += later
    oldest = now // SLICE - SLICES + 1
    found = {each.user_id: each for each in load.top(3, now)}
    for user in "abc":
        sums = {
            measure: sum(
                weight for at, of, who, weight in moments if who == user and of == measure and at // SLICE >= oldest
            )
            for measure in MEASURES
        }
        if any(sums.values()):
            assert found[user] == UserLoad(user, **sums)
        else:
            assert user not in found


def test_the_heaviest_of_every_measure_are_shown_and_who_is_asked_for() -> None:
    load = Load()
    for number in range(20):
        load.add("events", f"talker-{number}", 100 + number, 0.0)
    load.add("bytes", "writer", 10**9, 0.0)
    load.add("runs", "runner", 50, 0.0)
    shown = [each.user_id for each in load.top(2, 0.0, ["idle"])]
    assert {"talker-19", "talker-18", "writer", "runner", "idle"} <= set(shown)
    assert shown[0] == "talker-19"


def test_however_many_users_there_are_memory_is_bounded_and_the_heaviest_is_found() -> None:
    load = Load(room=16)
    for number in range(5_000):
        load.add("events", f"user-{number}", 1, number / 100)
        load.add("events", "heavy", 1, number / 100)
    assert len(load.top(10**6, 50.0)) <= 16 * SLICES
    assert load.top(1, 50.0)[0].user_id == "heavy"
    assert load.top(1, 50.0)[0].events >= 5_000
