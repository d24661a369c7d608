"""Every target, against real systems: what is right is found right, and what fails has a code, never a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from goldenpath.lab.checker import Finding
from goldenpath.lab.target import CODES, TargetError
from goldenpath.lab.targets import TargetSpec, parse_target
from goldenpath.lab.verdict import Verdict
from goldenpath.lab.workload import Iteration
from goldenpath.lab.workloads.golden_path import GoldenPath
from tests.lab.targets.impostor import CLOSE, Answer, http, impostor, stream, unused_port, upgraded
from tests.lab.targets.play import Bench, play
from tests.lab.targets.subjects import SUBJECTS, Subject, mapping_of_the_page

LONG = "{canary} " + "word " * 2000
"""Takes the systems 20 seconds to answer."""


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    there = SUBJECTS[request.param](tmp_path)
    yield there
    if there.kill is not None:
        there.kill()


def assert_clean(findings: list[Finding]) -> None:
    for finding in findings:
        assert finding.verdict is Verdict.PASS or (finding.optional and not finding.checked), finding


async def test_five_users_walk_the_golden_path(subject: Subject, tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        path = GoldenPath(messages=3, characters=80)
        users = [bench.make_user(number) for number in range(5)]
        for turn in range(2):
            await asyncio.gather(*(path.iterate(user, Iteration(turn * 5 + user.number, turn, 5)) for user in users))

    findings, watch, _ = await play(subject.spec, tmp_path, walk)
    assert_clean(findings)
    assert {outcome for _, outcome, _ in watch.outcomes} == {"ok"}, watch.outcomes
    assert [kind for kind, _, _ in watch.outcomes].count("ask") == 30
    assert sorted(watch.answers) == sorted(op.text for op in watch.asked)
    assert watch.types.count("RUN_STARTED") == watch.types.count("RUN_FINISHED") == 30


async def test_a_death_in_the_middle_of_a_run_leaves_its_outcome_open(subject: Subject, tmp_path: Path) -> None:
    spec, kill = subject.spec, subject.kill
    if kill is None:
        spec = TargetSpec("memory", {"failure": "dies"})

    async def die(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.login()
        await user.connect()
        asking = asyncio.ensure_future(bench.gone(user.ask(LONG, thread=user.thread("t"))))
        await bench.watch.answering.wait()
        if kill is not None:
            kill()
        await asking
        await bench.gone(user.connect())
        await bench.gone(user.ask("hello?", thread=user.thread("t")))

    _, watch, _ = await play(spec, tmp_path, die)
    asks = [(outcome, code) for kind, outcome, code in watch.outcomes if kind == "ask"]
    assert asks[0] == ("info", "disconnected"), watch.details
    assert asks[1][1] in ("disconnected", "unreachable"), watch.details
    assert ("connect", "fail", "unreachable") in watch.outcomes or spec.kind == "agui"
    assert not [text for text in watch.details if "Error" in text or "\n" in text]


# --- systems that are not what they should be -------------------------------------------------------------------------

TOKENS = '{"access_token": "t", "session": {"token": "t"}}'
PROBLEM = '{"code": "unauthorized", "detail": "wrong password", "definite": true}'


def _logged_in(otherwise: Callable[[str], bytes]) -> Answer:
    """Logins work, what comes then does not."""

    def answer(path: str, key: str) -> bytes:
        if "login" in path or "auth" in path:
            return http("200 OK", TOKENS)
        return otherwise(key)

    return answer


def _all(body: bytes) -> Answer:
    return lambda _path, _key: body


WRONG: dict[str, tuple[Answer, dict[str, tuple[str, str, str]]]] = {
    "refuses logins": (
        _all(http("401 Unauthorized", PROBLEM)),
        {
            "goldenpath": ("login", "fail", "unauthorized"),
            "websocket": ("login", "fail", "unauthorized"),
            "agui": ("ask", "fail", "unauthorized"),
        },
    ),
    "refuses without a reason": (
        _all(http("403 Forbidden", "<h1>no</h1>")),
        {
            "goldenpath": ("login", "fail", "refused"),
            "websocket": ("login", "fail", "refused"),
            "agui": ("ask", "fail", "refused"),
        },
    ),
    "fails": (
        _all(http("500 Oh no", "oops")),
        {
            "goldenpath": ("login", "info", "refused"),
            "websocket": ("login", "info", "refused"),
            "agui": ("ask", "info", "refused"),
        },
    ),
    "answers a login with something else": (
        _all(http("200 OK", "[]")),
        {
            "goldenpath": ("login", "fail", "garbage"),
            "websocket": ("login", "fail", "garbage"),
            "agui": ("ask", "info", "garbage"),
        },
    ),
    "closes in the handshake": (
        _logged_in(lambda _: CLOSE),
        {
            "goldenpath": ("connect", "fail", "disconnected"),
            "websocket": ("connect", "fail", "disconnected"),
            "agui": ("ask", "info", "disconnected"),
        },
    ),
    "answers an upgrade with garbage": (
        _logged_in(lambda _: b"\x00\xffgarbage\r\n\r\n"),
        {
            "goldenpath": ("connect", "info", "garbage"),
            "websocket": ("connect", "info", "garbage"),
            "agui": ("ask", "info", "garbage"),
        },
    ),
    "sends garbage": (
        _logged_in(lambda key: upgraded(key, b"garb age") if key else stream("data: garb age\n\n")),
        {
            "goldenpath": ("ask", "fail", "garbage"),
            "websocket": ("ask", "fail", "garbage"),
            "agui": ("ask", "info", "garbage"),
        },
    ),
}


def _spec_of(kind: str, port: int, directory: Path) -> TargetSpec:
    if kind == "websocket":
        text = f"ws+{mapping_of_the_page(directory, port)}"
    else:
        text = f"http://127.0.0.1:{port}" if kind == "goldenpath" else f"agui+http://127.0.0.1:{port}/"
    spec = parse_target(text)
    assert spec is not None
    return spec


async def _ask_once(bench: Bench) -> None:
    user = bench.make_user(0)

    async def work() -> None:
        await user.login()
        await user.connect()
        await user.ask("{canary}", thread="t")

    await bench.gone(work())


@pytest.mark.parametrize(
    ("wrong", "kind"), [(wrong, kind) for wrong, (_, expected) in WRONG.items() for kind in expected]
)
async def test_what_goes_wrong_has_a_code(wrong: str, kind: str, tmp_path: Path) -> None:
    answer, expected = WRONG[wrong]
    async with impostor(answer, stays=True) as port:
        _, watch, records = await play(_spec_of(kind, port, tmp_path), tmp_path, _ask_once)
    assert watch.outcomes[-1] == expected[kind], watch.details
    assert watch.outcomes[-1][2] in {*CODES, "unauthorized"}
    assert watch.details[-1]
    assert "\n" not in watch.details[-1]
    assert records


@pytest.mark.parametrize("kind", ["goldenpath", "websocket", "agui", "memory"])
async def test_a_target_that_is_down_says_so_at_once(kind: str, tmp_path: Path) -> None:
    spec = TargetSpec("memory", {"failure": "down"}) if kind == "memory" else _spec_of(kind, unused_port(), tmp_path)
    with pytest.raises(TargetError) as raised:
        await play(spec, tmp_path, _ask_once)
    assert raised.value.code == "unreachable"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("refuses_logins", ("login", "fail", "unauthorized")),
        ("closes_in_handshake", ("connect", "fail", "disconnected")),
        ("garbage", ("ask", "info", "garbage")),
        ("dies", ("ask", "info", "disconnected")),
    ],
)
async def test_what_goes_wrong_in_memory_has_the_same_codes(
    failure: str, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    _, watch, _ = await play(TargetSpec("memory", {"failure": failure}), tmp_path, _ask_once)
    assert watch.outcomes[-1] == expected


@pytest.mark.parametrize("kind", ["goldenpath", "websocket", "agui"])
@pytest.mark.parametrize(
    ("looked", "code"), [(CLOSE, "disconnected"), (b"\x00\xffgarbage\r\n\r\n", "garbage")], ids=["closes", "garbage"]
)
async def test_a_target_that_cannot_be_tested_says_why(looked: bytes, code: str, kind: str, tmp_path: Path) -> None:
    async with impostor(_all(CLOSE), looked=looked) as port:
        with pytest.raises(TargetError) as raised:
            await play(_spec_of(kind, port, tmp_path), tmp_path, _ask_once)
    assert raised.value.code == code
    assert "\n" not in str(raised.value)
