"""kill -9 at random moments, also during recovery, while fifty users stream, queue, reconnect and repeat themselves."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Join
from tests.contract.history import Accepted, History, Opened, Saw
from tests.contract.judge import ENDED, judge
from tests.contract.witness import LOST, Json, Link, LinkLostError, Witness
from tests.serverprocess import ServerProcess

USERS = 50
AHEAD = 4
"""How many runs of a user are under way or waiting at once; two of them run."""


class Life:
    """What one user does until `stop`: start runs in its two threads, follow them, come back after each loss."""

    def __init__(self, user: Witness, seed: int, stop: asyncio.Event) -> None:
        self.user = user
        self.commands: dict[tuple[str, str], Json] = {}
        self.reconnects = 0
        self._random = random.Random(seed)
        self._stop = stop

    async def live(self) -> None:
        """Until `stop`, and then until all runs have ended."""
        while not self.done:
            try:
                link = await self.user.connect()
            except (*LOST, LinkLostError):
                await asyncio.sleep(self._random.uniform(0.02, 0.3))
                continue
            try:
                await self._follow(link)
            except LinkLostError:
                self.reconnects += 1
            finally:
                await link.close()

    @property
    def open_runs(self) -> list[tuple[str, str]]:
        """The runs that have not been seen to end."""
        return [key for key in self.commands if key not in self.user.runs]

    @property
    def done(self) -> bool:
        return self._stop.is_set() and not self.open_runs

    async def _follow(self, link: Link) -> None:
        for thread_id, (epoch, seq) in list(self.user.cursors.items()):
            await link.ok("attach", thread_id=thread_id, after={"epoch": epoch, "seq": seq})
        # Whether the server took them or not, and whether it ended them: to say it again is harmless.
        for key in self.open_runs + self._random.sample(sorted(self.commands), min(2, len(self.commands))):
            await link.ok("run", **self.commands[key])
        while not self.done:
            if not self._stop.is_set() and len(self.open_runs) < AHEAD:
                await self._start(link)
                continue
            left = len(self.open_runs)
            if self._random.random() < 0.3:
                await self._look()
            await link.until(lambda n=left: len(self.open_runs) < n)  # type: ignore[misc]

    async def _start(self, link: Link) -> None:
        thread_id, run_id = f"t{self._random.randrange(2)}", f"r{len(self.commands)}"
        steps: list[Json] = [
            {"do": "say", "text": f"{self.user.marker} {run_id}"},
            {"do": "tool", "name": "search", "args": {"q": run_id}, "ms": [0, 300]},
            {"do": "reason", "text": "x" * 40, "delay_ms": [0, 40]},
            {"do": "deltas", "count": [10, 40], "size": [1, 40], "delay_ms": [0, 80]},
        ]
        self._random.shuffle(steps)
        text = json.dumps({"steps": steps})
        self.commands[thread_id, run_id] = {
            "agent": "scripted", "text": text, "thread_id": thread_id, "run_id": run_id,
        }  # fmt: skip
        await link.ok("run", **self.commands[thread_id, run_id])

    async def _look(self) -> None:
        """Ask for the status of a run while it may be ending."""
        thread_id, run_id = self._random.choice(sorted(self.commands))
        try:
            await self.user.status(thread_id, run_id)
            await self.user.messages(thread_id)
        except (httpx.TransportError, AssertionError):
            return  # the server is gone, or on its way back


@pytest.mark.parametrize("segment_bytes", ["262144", "2000"])
async def test_what_anybody_saw_survives_every_kill(
    launch: Callable[..., ServerProcess], join: Join, history: History, long_run: bool, segment_bytes: str
) -> None:
    if segment_bytes == "262144" and not long_run:
        pytest.skip("the other size does for a short run")
    kills = 25 if long_run else 4
    dice = random.Random(f"kills-{segment_bytes}")
    server = launch(segment_bytes=segment_bytes)
    users = [await join(server, f"user{number}") for number in range(USERS)]
    stop = asyncio.Event()
    lives = [Life(user, number, stop) for number, user in enumerate(users)]
    interrupted = 0
    async with asyncio.timeout(180 + 20 * kills), asyncio.TaskGroup() as group:
        for life in lives:
            group.create_task(life.live())
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            accepted = {(r.user, r.thread_id, r.run_id) for r in history.records if isinstance(r, Accepted)}
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start, ready=False)
            while dice.random() < 0.3:
                await asyncio.sleep(dice.uniform(0, 0.05))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start, ready=False)
            await _ready(server)
            interrupted += await _all_ended(users, accepted)
        stop.set()
    assert min(life.reconnects for life in lives) >= kills // 2
    assert interrupted > kills * USERS
    for user, life in zip(users, lives, strict=True):
        await user.audit(sorted({thread_id for thread_id, _ in life.commands}))
    _check_runs(history, users, lives)
    judge(history).require(
        ended_once=USERS * 4, unchanged=USERS * 100, resume=USERS, kept=USERS * 3, messages=USERS, status=USERS * 4,
        private=USERS * 100,
    )  # fmt: skip


async def _ready(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client, asyncio.timeout(20):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.002)


async def _all_ended(users: list[Witness], accepted: set[tuple[str, str, str]]) -> int:
    """Every run that was accepted before the kill has its end by the time the server is ready. How many were cut."""
    cut = 0
    for user in users:
        for thread_id in ("t0", "t1"):
            answer = await user.get(f"/v1/threads/{thread_id}")
            runs: list[dict[str, Any]] = answer.json()["runs"] if answer.status_code == 200 else []
            for run in runs:
                if (user.name, thread_id, run["run_id"]) in accepted:
                    assert run["status"] in ENDED, run
                    cut += run["status"] == "interrupted"
    return cut


def _check_runs(history: History, users: list[Witness], lives: list[Life]) -> None:
    """Every run says what its user said, and ended well or was interrupted, whether it had begun or not."""
    ends: dict[str, int] = {}
    for user, life in zip(users, lives, strict=True):
        for key in life.commands:
            terminal = user.runs[key]
            end = terminal["code"] if terminal["type"] == "RUN_ERROR" else terminal["outcome"]["type"]
            ends[end] = ends.get(end, 0) + 1
    assert set(ends) == {"success", "run_interrupted"}, ends
    texts = {
        (user.name, key[1]): command["text"]
        for user, life in zip(users, lives, strict=True)
        for key, command in life.commands.items()
    }
    subscriptions = {r.subscription: r.user for r in history.records if isinstance(r, Opened)}
    seen = set()
    for record in history.records:
        if isinstance(record, Saw) and b'"type":"RUN_STARTED"' in record.event:
            who = subscriptions[record.subscription]
            messages = json.loads(record.event)["input"]["messages"]
            assert [message["content"] for message in messages] == [texts[who, str(record.run_id)]]
            seen.add((who, str(record.run_id)))
    assert seen == set(texts)


async def test_nobody_is_told_anything_before_the_recovery_is_over(
    launch: Callable[..., ServerProcess], join: Join, history: History
) -> None:
    server = launch()
    await _leave_much_to_recover(server)
    users = [await join(server, f"user{number}") for number in range(10)]
    links = [await user.connect() for user in users]
    for link in links:
        for thread_id in ("t0", "t1"):
            await link.script(
                thread_id, "cut", {"do": "deltas", "count": 1000, "size": 40}, {"do": "sleep", "ms": 60000}
            )
        await link.run("echo", "later", "t0", "queued")
    for user, link in zip(users, links, strict=True):
        await link.until(lambda u=user: all(u.cursors[t][1] == 1003 for t in ("t0", "t1")))
    await asyncio.to_thread(server.kill)
    for link in links:
        await link.close()
    await asyncio.to_thread(server.start, ready=False)
    early = await asyncio.gather(*(_come_back(user) for user in users))
    for user in users:
        assert user.runs["t0", "cut"]["code"] == user.runs["t0", "queued"]["code"] == "run_interrupted"
        await user.audit(["t0", "t1", "t2"])
    judge(history).require(ended_once=50, messages=20, kept=40, resume=20)
    assert any(early), "the recovery was over before anybody came: nothing was tried"


async def _leave_much_to_recover(server: ServerProcess) -> None:
    """Runs with many events, which a recovery takes up before those that come after them."""
    async with AsyncExitStack() as stack:
        names = [f"heavy{number}@example.org" for number in range(10)]
        users = [await stack.enter_async_context(Witness(server, History(), name)) for name in names]
        links = [await stack.enter_async_context(user.link()) for user in users]
        for link in links:
            for thread_id in ("t0", "t1"):
                await link.script(thread_id, "r", {"do": "deltas", "count": 20_000}, {"do": "sleep", "ms": 60_000})
                await link.ok("detach", thread_id=thread_id)
        for user in users:
            for thread_id in ("t0", "t1"):
                while (await user.http.get(f"/v1/threads/{thread_id}")).json()["head"] < 20_003:
                    await asyncio.sleep(0.1)


async def _come_back(user: Witness) -> int:
    """Ask for everything at once, and wait for the answers. Whether the server was recovering when it was asked."""
    async with user.link() as link:
        recovering = (await user.get("/readyz")).status_code == 503
        asked = [
            link.post("attach", thread_id=thread_id, after={"epoch": epoch, "seq": seq})
            for thread_id, (epoch, seq) in user.cursors.items()
        ]
        asked.append(link.post("run", agent="echo", text="after", thread_id="t1", run_id="after"))
        asked.append(link.post("run", agent="echo", text="after", thread_id="t2", run_id="after"))
        asked.append(link.post("cancel", thread_id="t0"))
        await link.send("\n".join(json.dumps(command) for command, _ in asked))
        status, _ = await asyncio.gather(user.status("t0", "queued"), user.messages("t0"))
        replies = [await reply for _, reply in asked]
        assert all(reply["ok"] for reply in replies), replies
        assert replies[-1]["cancelled"] == []
        assert status == "interrupted"
        for thread_id, run_id in (("t0", "cut"), ("t0", "queued"), ("t1", "cut"), ("t1", "after"), ("t2", "after")):
            await link.ended(thread_id, run_id)
    return recovering
