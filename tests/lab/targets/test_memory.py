"""The server without a network does what ours does, the same way every time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from goldenpath.lab import coming_back
from goldenpath.lab.checker import Finding
from goldenpath.lab.records import Received
from goldenpath.lab.targets import TargetSpec
from tests.lab.targets.play import Bench, play

MEMORY = TargetSpec("memory")
LONG = "{canary} " + "word " * 200


def wrong(findings: list[Finding]) -> dict[str, int]:
    return {kind: count for finding in findings for kind, count in finding.counts.items()}


async def test_two_runs_are_the_same_to_the_byte(tmp_path: Path) -> None:
    async def talk(bench: Bench) -> None:
        users = [bench.make_user(number) for number in range(3)]
        for user in users:
            await user.login()
            await user.connect()
        await asyncio.gather(*(user.ask(LONG, thread=user.thread(name)) for user in users for name in "ab"))

    seen = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        findings, _, records = await play(MEMORY, tmp_path / name, talk)
        assert wrong(findings) == {}
        seen.append([(record.user, record.payload) for record in records if isinstance(record, Received)])
    assert seen[0]
    assert seen[0] == seen[1]


async def test_a_run_is_cancelled(tmp_path: Path) -> None:
    async def cancel(bench: Bench) -> None:
        user = bench.make_user(0)
        await user.login()
        await user.connect()
        thread = user.thread("t")
        asking = asyncio.ensure_future(user.ask(LONG, thread=thread, run="r"))
        await bench.watch.answering.wait()
        await user.cancel(thread, "r")
        assert (await asking).outcome == "cancelled"

    findings, watch, _ = await play(MEMORY, tmp_path, cancel)
    assert wrong(findings) == {}
    assert len(watch.answers[0]) < len(LONG)


async def test_a_user_comes_back_and_reads_on(tmp_path: Path) -> None:
    async def lose(bench: Bench) -> None:
        user = bench.make_user(0)
        user.resumes = True
        await user.login()
        await user.connect()
        asking = asyncio.ensure_future(user.ask(LONG, thread=user.thread("t")))
        await bench.watch.answering.wait()
        user.drop()
        assert (await asking).outcome == "success"

    findings, watch, _ = await play(MEMORY, tmp_path, lose)
    assert wrong(findings) == {}
    assert watch.answers == [watch.asked[0].text]
    assert ("attach", "ok", "") in watch.outcomes


async def test_a_connection_that_goes_as_soon_as_it_has_come_back_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coming_back, "RECONNECT_AFTER", (0.0,))

    async def lose(bench: Bench) -> None:
        user = bench.make_user(0)
        user.resumes = True
        lost: list[bool] = []

        def lose_again() -> None:
            if bench.watch.attaching and not lost:
                lost.append(True)
                user.drop()

        await user.login()
        await user.connect()
        asking = asyncio.ensure_future(user.ask(LONG * 10, thread=user.thread("t")))
        await bench.watch.answering.wait()
        bench.watch.on_events = lose_again
        user.drop()
        assert (await asking).outcome == "success"
        assert lost

    findings, watch, _ = await play(MEMORY, tmp_path, lose)
    assert wrong(findings) == {}
    assert [kind for kind, _, _ in watch.outcomes].count("connect") == 3


async def test_a_thread_is_its_owners(tmp_path: Path) -> None:
    findings, watch, _ = await play(MEMORY, tmp_path, intrude)
    assert wrong(findings) == {}
    assert ("intrude", "ok", "") in watch.outcomes


async def test_a_server_that_lets_others_in_is_told(tmp_path: Path) -> None:
    findings, _, _ = await play(TargetSpec("memory", {"failure": "admits"}), tmp_path, intrude)
    assert wrong(findings)["intrusion"] == 1


async def intrude(bench: Bench) -> None:
    owner, intruder = bench.make_user(0), bench.make_user(1)
    for user in (owner, intruder):
        await user.login()
        await user.connect()
    await owner.ask("{canary}", thread="private", run="r")
    await owner.history("private")
    await owner.threads()
    await bench.gone(intruder.intrude(0, "private", "r"))
