from __future__ import annotations

import itertools
from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from goldenpath.runtime.admission import Admission, RefusedError, Ticket

USERS = ("ann", "bob", "cy", "dan")
MAX_QUEUED = 3


def ticket(user: str, thread: str, *, max_running: int = 2, max_queued: int = MAX_QUEUED) -> Ticket[str]:
    return Ticket(user, (user, thread), f"{user}/{thread}", max_running=max_running, max_queued=max_queued)


class Places(RuleBasedStateMachine):
    """Admission, and a plain record of what was asked for and given."""

    @initialize(places=st.integers(1, 5), waiting=st.integers(0, 8))
    def begin(self, places: int, waiting: int) -> None:
        self.places, self.room = places, waiting
        self.admission: Admission[str] = Admission(max_running=places, max_waiting=waiting)
        self.running: list[Ticket[str]] = []
        self.waiting: list[Ticket[str]] = []
        """In the order in which they came."""
        self.gone: list[Ticket[str]] = []
        self.admitted = self.refused = self.peak = 0
        self.turns: dict[str, Counter[str]] = {user: Counter() for user in USERS}
        """For each user who waits for nothing but a free place: how many places each other user was given since."""

    def may_start(self, asked: Ticket[str]) -> bool:
        return len(self.running) < self.places and self.waits_for_places_only(asked)

    def waits_for_places_only(self, asked: Ticket[str]) -> bool:
        return (
            sum(other.user == asked.user for other in self.running) < asked.max_running
            and all(other.thread != asked.thread for other in self.running)
            and self.goes_first(asked)
        )

    def goes_first(self, asked: Ticket[str]) -> bool:
        """Whether no earlier run of the same thread waits."""
        return next(other for other in [*self.waiting, asked] if other.thread == asked.thread) is asked

    @invariant()
    def those_who_wait_for_nothing_but_a_place_are_counted(self) -> None:
        if not hasattr(self, "admission"):
            return
        full = len(self.running) >= self.places
        firsts = {asked.user: asked for asked in reversed(self.waiting)}.values()
        short = sum(sum(other.user == asked.user for other in self.running) < asked.max_running for asked in firsts)
        assert self.admission.short() == (short if full else 0)

    @rule(user=st.sampled_from(USERS), thread=st.sampled_from("xyz"), max_running=st.sampled_from([1, 2, 2, 3]))
    def submit(self, user: str, thread: str, max_running: int) -> None:
        asked = ticket(user, thread, max_running=max_running)
        before = self.admission.statistics()
        own = sum(other.user == user for other in self.waiting)
        could = self.may_start(asked)
        try:
            started = self.admission.submit(asked)
        except RefusedError as error:
            assert not could
            code = error.code
            assert own >= MAX_QUEUED or len(self.waiting) >= self.room
            assert not asked.running
            assert self.admission.release(asked) == []
            self.refused += 1
            full = "quota_exceeded" if own >= MAX_QUEUED else "queue_full"
            after = self.admission.statistics()
            assert (after.running, after.waiting, after.admitted) == (before.running, before.waiting, before.admitted)
            if code != full:
                raise AssertionError(code) from error
            return
        assert started == could
        if started:
            self.start(asked)
        else:
            assert own < MAX_QUEUED
            assert len(self.waiting) < self.room
            self.waiting.append(asked)

    def start(self, begun: Ticket[str]) -> None:
        assert begun.running
        self.running.append(begun)
        self.admitted += 1
        self.peak = max(self.peak, len(self.running))

    def take(self, started: list[Ticket[str]]) -> None:
        """Runs were given places: each had to be the first of its thread, and the right one of its user."""
        for begun in started:
            assert begun in self.waiting
            assert self.may_start(begun)
            earlier = self.waiting[: self.waiting.index(begun)]
            assert not any(other.user == begun.user and self.may_start(other) for other in earlier)
            self.waiting.remove(begun)
            for user in self.eligible() - {begun.user}:
                self.turns[user][str(begun.user)] += 1
                assert self.turns[user][str(begun.user)] == 1
            self.start(begun)
            self.turns[str(begun.user)].clear()
        for user in set(USERS) - self.eligible():
            self.turns[user].clear()

    def eligible(self) -> set[str]:
        """The users who wait for nothing but a place of the process."""
        return {str(asked.user) for asked in self.waiting if self.waits_for_places_only(asked)}

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        ended = data.draw(st.sampled_from(self.running), label="ended")
        self.running.remove(ended)
        self.gone.append(ended)
        self.take(self.admission.release(ended))
        assert not ended.running

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        left = data.draw(st.sampled_from(self.waiting), label="left")
        self.waiting.remove(left)
        self.gone.append(left)
        self.take(self.admission.release(left))

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def release_again(self, data: st.DataObject) -> None:
        assert self.admission.release(data.draw(st.sampled_from(self.gone), label="gone")) == []

    @invariant()
    def no_bound_is_exceeded(self) -> None:
        if not hasattr(self, "admission"):
            return
        assert len(self.running) <= self.places
        assert len(self.waiting) <= self.room
        threads = [begun.thread for begun in self.running]
        assert len(threads) == len(set(threads))
        for user in USERS:
            held = self.admission._users.get(user)
            running, waiting = (held.running, len(held.waiting)) if held is not None else (0, 0)
            assert sum(begun.user == user for begun in self.running) == running <= 3
            assert sum(asked.user == user for asked in self.waiting) == waiting <= MAX_QUEUED

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        if not hasattr(self, "admission"):
            return
        for asked in self.waiting:
            assert not (self.may_start(asked))

    @invariant()
    def the_counts_are_right(self) -> None:
        if not hasattr(self, "admission"):
            return
        statistics = self.admission.statistics()
        assert statistics.running == len(self.running)
        assert statistics.waiting == len(self.waiting)
        assert statistics.waiting_users == len({asked.user for asked in self.waiting})
        assert (statistics.admitted, statistics.refused, statistics.peak) == (self.admitted, self.refused, self.peak)

    def teardown(self) -> None:
        if not hasattr(self, "admission"):
            return
        while self.running:  # no place and no run is lost: everybody gets a turn in the end
            ended = self.running.pop(0)
            self.take(self.admission.release(ended))
        assert self.waiting == []
        assert self.admission.statistics().running == 0
        assert self.admission._users == {}
        assert not self.admission._turns
        assert not self.admission._busy_threads


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.integers(1, 4),
    st.lists(st.integers(0, 3), min_size=60, max_size=60),
)
def test_places_go_round_so_that_nobody_waits_for_more_than_one_turn_of_each_other_user(
    queues: list[int], places: int, ends: list[int]
) -> None:
    admission: Admission[str] = Admission(max_running=places, max_waiting=1000)
    running: deque[Ticket[str]] = deque()
    waiting: Counter[int] = Counter()
    for user, count in enumerate(queues):
        for number in range(count):
            asked = ticket(str(user), str(number), max_running=100, max_queued=100)
            if admission.submit(asked):
                running.append(asked)
            else:
                waiting[user] += 1
    turns: list[int] = []
    for end in ends:
        if not running:
            break
        running.rotate(end)
        started = admission.release(running.popleft())
        running.extend(started)
        turns += [int(str(begun.user)) for begun in started]
    assert len(turns) <= sum(waiting.values())
    since: dict[int, Counter[int]] = {user: Counter() for user in waiting if waiting[user]}
    for turn in turns:
        since[turn].clear()
        waiting[turn] -= 1
        for user, others in since.items():
            if user != turn and waiting[user]:
                others[turn] += 1
                assert others[turn] <= 1, (turns, user)


def test_a_flood_of_one_user_delays_another_by_one_run() -> None:
    admission: Admission[str] = Admission(max_running=1, max_waiting=5000)
    first = ticket("flood", "0", max_running=10, max_queued=2000)
    assert admission.submit(first)
    for number in range(1, 1001):
        assert not admission.submit(ticket("flood", str(number), max_running=10, max_queued=2000))
    assert not admission.submit(ticket("quiet", "1"))
    (second,) = admission.release(first)
    assert second.user == "flood"
    (third,) = admission.release(second)
    assert third.user == "quiet"


def test_a_run_whose_thread_is_free_passes_those_of_its_user_that_wait_for_theirs() -> None:
    admission: Admission[str] = Admission(max_running=10, max_waiting=10)
    assert admission.submit(ticket("ann", "x"))
    assert not admission.submit(ticket("ann", "x"))
    assert admission.submit(ticket("ann", "y"))
    assert not admission.submit(ticket("ann", "z"))


def test_runs_of_a_thread_keep_their_order() -> None:
    admission: Admission[str] = Admission(max_running=10, max_waiting=10)
    runs = [ticket("ann", "x") for _ in range(4)]
    assert [admission.submit(run) for run in runs] == [True, False, False, False]
    for run, following in itertools.pairwise(runs):
        assert admission.release(run) == [following]


def test_runs_of_a_thread_keep_their_order_also_when_their_user_may_run_more_than_before() -> None:
    admission: Admission[str] = Admission(max_running=10, max_waiting=10)
    busy = [ticket("ann", "x"), ticket("ann", "y")]
    assert [admission.submit(run) for run in busy] == [True, True]
    before = ticket("ann", "x", max_running=1)
    after = ticket("ann", "x", max_running=8)
    assert [admission.submit(run) for run in (before, after)] == [False, False]
    assert admission.release(busy[0]) == []
    assert admission.release(busy[1]) == [before]
    assert admission.release(before) == [after]


def test_two_users_may_run_threads_of_the_same_name_at_once() -> None:
    admission: Admission[str] = Admission(max_running=10, max_waiting=10)
    assert admission.submit(ticket("ann", "x"))
    assert admission.submit(ticket("bob", "x"))


def test_a_refusal_says_whose_bound_it_is() -> None:
    admission: Admission[str] = Admission(max_running=1, max_waiting=2)
    assert admission.submit(ticket("ann", "x"))
    assert not admission.submit(ticket("ann", "y", max_queued=1))
    with pytest.raises(RefusedError, match="1 of your runs are waiting") as own:
        admission.submit(ticket("ann", "z", max_queued=1))
    assert own.value.code == "quota_exceeded"
    assert not admission.submit(ticket("bob", "x"))
    with pytest.raises(RefusedError, match="too many runs are waiting") as everybodys:
        admission.submit(ticket("cy", "x"))
    assert everybodys.value.code == "queue_full"
    statistics = admission.statistics()
    assert (statistics.running, statistics.waiting, statistics.refused) == (1, 2, 2)
    assert (statistics.refused_quota, statistics.refused_queue) == (1, 1)
    assert "cy" not in admission._users


def test_a_user_without_a_place_and_without_room_to_wait_is_refused() -> None:
    admission: Admission[str] = Admission(max_running=1, max_waiting=10)
    assert admission.submit(ticket("ann", "x", max_queued=0))
    with pytest.raises(RefusedError):
        admission.submit(ticket("ann", "y", max_queued=0))


def test_releasing_what_was_never_submitted_is_harmless() -> None:
    admission: Admission[str] = Admission(max_running=1, max_waiting=1)
    assert admission.release(ticket("ann", "x")) == []
    assert admission.submit(ticket("ann", "x"))
    assert admission.release(ticket("ann", "x")) == []
    assert admission.statistics().running == 1


@pytest.mark.parametrize(("max_queued", "room"), [(2, 9), (9, 2)])
def test_the_places_of_runs_that_leave_the_queue_may_be_taken(max_queued: int, room: int) -> None:
    admission: Admission[str] = Admission(max_running=1, max_waiting=room)
    tickets = [ticket("ann", f"t{number}", max_queued=max_queued) for number in range(4)]
    assert [admission.submit(each) for each in tickets[:3]] == [True, False, False]
    with pytest.raises(RefusedError):
        admission.submit(tickets[3])
    assert not admission.submit(tickets[3], leaving=1)
    assert admission.release(tickets[1]) == []
    statistics = admission.statistics()
    assert (statistics.waiting, statistics.refused) == (2, 1)
    assert admission.release(tickets[0]) == [tickets[2]]
