from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.context import Principal
from goldenpath.runtime.gateway.peers import Peers
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId


def principal(user: str = "ann", session: str | None = None) -> Principal:
    return Principal(UserId(user), SessionId(session or f"session-{user}"), 2e9)


class Connected:
    """A peer that ends as soon as it is told to, as an aborted socket does."""

    def __init__(self, peers: Peers, who: Principal, address: str | None = None) -> None:
        self.principal = who
        self.reservation = peers.reserve(who.user_id, address)
        assert self.reservation is not None
        self.ended: list[tuple[int, str]] = []
        self.ticks: list[float] = []
        self._peers = peers
        peers.add(self)

    def end(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))
        self._peers.remove(self)

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        if now < 0:
            self.end(4401, "expired")


def made(max_peers: int = 100, max_per_user: int = 100, max_per_address: int | None = None) -> Peers:
    return Peers(max_peers=max_peers, max_per_user=max_per_user, max_per_address=max_per_address)


def test_a_full_server_refuses_everybody() -> None:
    peers = made(max_peers=2)
    first, _ = Connected(peers, principal()), peers.reserve(UserId("bob"), None)  # who is on the way in counts too
    with pytest.raises(RequestError) as refused:
        peers.check_room(None)
    assert (refused.value.code, refused.value.retry_after) == ("overloaded", 5.0)
    first.end(1000, "bye")
    peers.check_room(None)


def test_an_address_has_a_bound_of_its_own_where_it_is_known() -> None:
    peers = made(max_per_address=1)
    Connected(peers, principal(), "198.51.100.1")
    with pytest.raises(RequestError) as refused:
        peers.check_room("198.51.100.1")
    assert refused.value.code == "rate_limited"
    assert peers.statistics().refused_address == 1
    peers.check_room("198.51.100.2")
    peers.check_room(None)
    made(max_per_address=None).check_room("198.51.100.1")


def test_a_user_has_a_bound_over_all_sessions() -> None:
    peers = made(max_per_user=2)
    Connected(peers, principal("ann", "one"))
    on_the_way = peers.reserve(UserId("ann"), None)
    assert on_the_way is not None
    assert peers.reserve(UserId("ann"), None) is None
    assert peers.reserve(UserId("bob"), None) is not None
    found = peers.statistics()
    assert (found.refused, found.refused_user, found.refused_address, found.refused_server) == (1, 1, 0, 0)
    on_the_way.release()
    on_the_way.release()
    Connected(peers, principal("ann", "two"))
    assert peers.reserve(UserId("ann"), None) is None


def test_a_reservation_lasts_as_long_as_its_context_and_no_longer_than_its_peer() -> None:
    peers = made(max_per_address=1)
    found = peers.reserve(UserId("ann"), "198.51.100.1")
    assert found is not None
    with found, pytest.raises(RequestError):
        peers.check_room("198.51.100.1")
    peer = Connected(peers, principal("ann"), "198.51.100.1")
    with pytest.raises(RequestError):
        peers.reserve(UserId("bob"), "198.51.100.1")
    assert peer in peers
    peers.remove(peer)
    assert peer not in peers
    assert peers.reserve(UserId("bob"), "198.51.100.1") is not None


def test_a_peer_that_never_got_in_is_removed_like_any_other() -> None:
    peers = made(max_per_user=1)
    peer = Connected(peers, principal("ann"))
    peers.remove(peer)
    peer.reservation = None
    peers.remove(peer)
    assert peers.statistics().connected == 0
    assert peers.reserve(UserId("ann"), None) is not None


def test_ending_a_session_ends_all_of_it_and_nothing_else() -> None:
    peers = made()
    mine = [Connected(peers, principal("ann", "one")) for _ in range(3)]
    others = [Connected(peers, principal("ann", "two")), Connected(peers, principal("bob"))]
    peers.end_session(SessionId("one"), 4401, "ended")
    assert [peer.ended for peer in mine] == [[(4401, "ended")]] * 3
    assert [peer.ended for peer in others] == [[], []]
    assert list(peers) == others
    peers.end_session(SessionId("one"), 4401, "again")
    assert [peer.ended for peer in mine] == [[(4401, "ended")]] * 3


def test_peers_may_end_while_all_are_told_something() -> None:
    peers = made()
    everybody = [Connected(peers, principal(f"user {number}")) for number in range(5)]
    peers.tick(3.0)
    assert [peer.ticks for peer in everybody] == [[3.0]] * 5
    peers.tick(-1.0)
    assert len(peers) == 0
    everybody = [Connected(peers, principal(f"user {number}")) for number in range(5)]
    for peer in peers:
        peer.end(1001, "drain")
    assert len(peers) == 0


def test_a_peer_with_a_new_token_belongs_to_the_new_session_and_is_counted_once() -> None:
    peers = made(max_per_user=1)
    peer = Connected(peers, principal("ann", "one"))
    peers.renew(peer, principal("ann", "two"))
    assert peer.principal.session_id == "two"
    assert peers.statistics().accepted == 1
    assert len(peers) == 1
    assert peers.reserve(UserId("ann"), None) is None
    peers.end_session(SessionId("one"), 4401, "ended")
    assert peer.ended == []
    peers.end_session(SessionId("two"), 4401, "ended")
    assert peer.ended == [(4401, "ended")]
    peers.remove(peer)
    assert peers.statistics().connected == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from([None, "1", "2"]), st.integers(0, 5)),
        max_size=40,
    )
)
def test_the_counts_are_those_of_who_is_there(steps: list[tuple[str, str, str | None, int]]) -> None:
    peers = made()
    there: list[Connected] = []
    peak = accepted = 0
    for user, session, address, leaving in steps:
        if leaving < 2 and there:
            left = there.pop(leaving % len(there))
            peers.remove(left)
            peers.remove(left)
        else:
            there.append(Connected(peers, principal(user, session), address))
            accepted += 1
        peak = max(peak, len(there))
        statistics = peers.statistics()
        assert statistics.connected == len(peers) == len(there)
        assert statistics.users == len({peer.principal.user_id for peer in there})
        assert (statistics.peak, statistics.accepted) == (peak, accepted)
        held = [peer.reservation for peer in there if peer.reservation is not None]
        assert peers._addresses == Counter(found.address for found in held if found.address is not None)
        assert peers._reserved == len(there)
        assert {session: set(found) for session, found in peers._by_session.items()} == {
            session: {peer for peer in there if peer.principal.session_id == session}
            for session in {peer.principal.session_id for peer in there}
        }
    assert list(peers) == there
