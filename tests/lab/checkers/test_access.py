from __future__ import annotations

from goldenpath.lab.checkers.access import GRACE, Access
from tests.lab.histories import Script, asked, find, kinds, whole_run


def test_whoever_comes_without_a_token_is_refused() -> None:
    script = Script()
    op = script.invoke("trespass", text="no token")
    script.answer(op, b"{}", 401)
    script.complete(op)
    finding = find(Access(), script.records)
    assert (finding.checked, finding.counts) == (1, {})


def test_whoever_is_let_in_with_a_token_that_has_ended() -> None:
    for status in (200, 401):
        script = Script()
        op = script.invoke("trespass", text="a token that has ended")
        script.answer(op, b"{}", status)
        script.complete(op, "info", "admitted", "the connection stayed open")
        finding = find(Access(), script.records)
        assert finding.counts == {"trespass": 1}
        assert finding.violations[0].witness.startswith("user 1 was let in with a token that has ended: ")


def test_a_target_that_cannot_be_reached_says_nothing() -> None:
    script = Script()
    script.complete(script.invoke("trespass", text="no token"), "fail", "unreachable")
    assert not kinds(Access(), script)
    assert find(Access(), script.records).checked == 0


def test_a_token_is_good_until_its_end_and_not_for_longer() -> None:
    for late, expected in ((-0.5, {}), (0.5, {"expired": 1})):
        script = Script()
        login = script.invoke("login")
        script.answer(login, b'{"access_token": "t", "expires_in": 60}')
        script.complete(login)
        asked(script)
        script.wait(60 + GRACE + late)
        script.send(*whole_run())
        assert kinds(Access(), script) == expected


def test_an_answer_over_http_counts_from_when_it_was_asked_for() -> None:
    script = Script()
    login = script.invoke("login")
    script.answer(login, b'{"expires_in": 60}')
    script.complete(login)
    asked_in_time = script.invoke("history")
    script.wait(70)
    script.answer(asked_in_time, b"{}")
    assert not kinds(Access(), script)
    for status in (200, 401):
        script.answer(script.invoke("threads"), b"{}", status)
    finding = find(Access(), script.records)
    assert finding.counts == {"expired": 1}
    assert finding.violations[0].witness.startswith("user 1: threads was answered with 200 10.0 s after their token")


def test_a_login_that_does_not_say_how_long_it_is_good_for() -> None:
    for body in (b"{}", b"welcome"):
        script = Script()
        script.answer(script.invoke("login"), body)
        asked(script)
        script.wait(1_000_000)
        script.send(*whole_run())
        assert not kinds(Access(), script)


def test_every_user_is_welcomed_by_a_name_of_their_own() -> None:
    for names, expected in (
        (("a", "b", "a"), {}),
        (("a", "a", "a"), {"identity": 1}),
        (("a", "b", "c"), {"identity": 1}),
    ):
        script = Script()
        for user, name in zip((1, 2, 1), names, strict=True):
            connection = script.open(user)
            script.send({"type": "welcome", "user_id": name}, connection=connection, user=user)
        assert kinds(Access(), script) == expected
