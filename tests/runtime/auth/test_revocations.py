from __future__ import annotations

from structlog.testing import capture_logs

from goldenpath.runtime.auth.revocations import Revocations
from goldenpath.wire.ids import SessionId

A, B, C = SessionId("ses_a"), SessionId("ses_b"), SessionId("ses_c")


def test_a_revoked_session_is_remembered_for_a_token_lifetime_and_then_dropped() -> None:
    revocations = Revocations(900)
    revocations.add(A, 0)
    revocations.add(B, 500)
    assert A in revocations
    revocations.add(C, 900)
    assert A not in revocations
    assert B in revocations
    assert len(revocations) == 2


def test_listeners_hear_of_each_session_once_until_they_unsubscribe() -> None:
    revocations = Revocations(900)
    heard: list[SessionId] = []
    stop = revocations.subscribe(heard.append)
    revocations.add(A, 0)
    revocations.add(A, 1)
    stop()
    stop()
    revocations.add(B, 2)
    assert heard == [A]


def test_the_same_listener_may_subscribe_twice() -> None:
    revocations = Revocations(900)
    heard: list[SessionId] = []
    stop = revocations.subscribe(heard.append)
    revocations.subscribe(heard.append)
    stop()
    revocations.add(A, 0)
    assert heard == [A]


def test_a_listener_is_told_when_the_session_is_revoked_already() -> None:
    revocations = Revocations(900)
    seen: list[bool] = []
    revocations.subscribe(lambda session_id: seen.append(session_id in revocations))
    revocations.add(A, 0)
    assert seen == [True]


def test_a_listener_that_fails_does_not_keep_others_from_hearing() -> None:
    revocations = Revocations(900)
    heard: list[SessionId] = []

    def fail(_: SessionId) -> None:
        raise RuntimeError("broken")

    revocations.subscribe(fail)
    revocations.subscribe(heard.append)
    with capture_logs() as logs:
        revocations.add(A, 0)
    assert heard == [A]
    assert [entry["event"] for entry in logs] == ["revocation_listener_failed"]


def test_what_is_restored_is_revoked_but_nobody_is_told() -> None:
    revocations = Revocations(900)
    heard: list[SessionId] = []
    revocations.subscribe(heard.append)
    revocations.restore(A, -600)
    assert A in revocations
    assert heard == []
    revocations.add(B, 300)
    assert A not in revocations
