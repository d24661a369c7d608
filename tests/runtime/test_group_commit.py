"""A fault in whoever is told of a commit is its own; one that ends the commits is everybody's, and all are told."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.interfaces import StoreError, ThreadRow
from goldenpath.runtime.settings import Settings
from goldenpath.runtime.signals import Signals
from goldenpath.runtime.stores.memory_log import MemoryLog
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire.ids import Epoch
from tests.runtime.logs import Logs, key
from tests.runtime.runs import turns


def fails(*_: object) -> NoReturn:
    raise ValueError("a fault of its own")


async def commit(commits: GroupCommit) -> None:
    await asyncio.wait_for(commits.committed(), 10)


async def test_a_follower_or_a_callback_that_fails_keeps_nobody_from_a_commit() -> None:
    async with Logs().running() as logs:
        commits = logs.event_log.commits
        faulty, sound = await logs.accept("r1", key("faulty")), await logs.accept("r1", key("sound"))
        await commit(commits)
        reader, other = await logs.subscribe(key("faulty")), await logs.subscribe(key("sound"))
        reader.follower.notify = fails
        called = asyncio.Event()
        commits.when_committed(fails)
        commits.when_committed(called.set)
        faulty.begin()
        sound.begin()
        await commit(commits)
        assert called.is_set()
        assert other.told == 1
        faulty.finish()
        await commit(commits)


async def test_a_log_that_cannot_be_folded_keeps_no_other_from_the_commits() -> None:
    async with Logs(segment_bytes=100).running() as logs:
        faulty, sound = await logs.accept("r1", key("faulty")), await logs.accept("r1", key("sound"))
        faulty.begin()
        faulty.log.append(b"this is no event, which only a fault of ours can bring about" * 10)
        logs.event_log.commits.touch(faulty.log)
        await commit(logs.event_log.commits)
        sound.begin()
        await commit(logs.event_log.commits)
        assert sound.log.visible == sound.log.head == 1


async def test_a_cache_that_fails_keeps_nobody_from_the_commits() -> None:
    commits = GroupCommit(MemoryLog(), ManualClock(), Settings(commit_interval=0.0), Signals(), shown=fails, gone=fails)
    commits.start(0)
    log = ThreadLog(ThreadRow(key(), Epoch("e"), 0.0, 0.0), durable=False)
    commits.save(log)
    await commit(commits)
    log.deleted = True
    commits.delete(log)
    await commit(commits)
    await commit(commits)
    await commits.stop()


async def test_everybody_who_waits_is_told_when_the_commits_have_ended() -> None:
    logs = Logs()
    await logs.event_log.start()
    commits = logs.event_log.commits
    run = await logs.accept()
    await commit(commits)
    logs.store.hold_commits()
    waiting = [asyncio.create_task(commits.committed())]
    await turns()
    assert logs.store.in_flight.is_set()  # that one waits for this commit, the next for the one after it
    waiting += [asyncio.create_task(commits.committed()), asyncio.create_task(commits.room(run.log))]
    await turns()
    logs.store.fault = ValueError("no store may raise this")
    logs.store.release_commits()
    for task in waiting:
        with pytest.raises(StoreError, match="no store may raise this"):
            await asyncio.wait_for(task, 10)
    assert commits.ended is not None
    assert not commits.healthy
    with pytest.raises(StoreError):
        await commit(commits)
    with pytest.raises(StoreError):
        await asyncio.wait_for(commits.room(run.log), 10)
    with pytest.raises(StoreError):
        await logs.event_log.stop()
