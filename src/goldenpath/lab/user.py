"""A simulated user: what workloads are written in.

Each method is one operation: it is recorded, carried out by the target's adapter, and its outcome is recorded. They
raise `OperationError` when it is not ok, after recording it, so that a workload may simply let go."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar

from goldenpath.lab.canary import Canaries
from goldenpath.lab.frames import Frame
from goldenpath.lab.progress import Progress, refusal
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Closed, Invoke, Kind
from goldenpath.lab.stream import SeenRun
from goldenpath.lab.target import Ability, Client, Credential, Target, TargetError

T = TypeVar("T")

RENEW_BEFORE: Final = 60.0
"""Seconds before a login ends, at which the user logs in again. One that is good for less is not renewed."""
RECONNECT_AFTER: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each attempt to come back, with jitter; the last repeats."""
_OVER_THE_CONNECTION: Final = frozenset(("ask", "attach", "cancel", "intrude"))


class OperationError(Exception):
    """An operation was not ok. It is recorded already."""

    def __init__(self, op: Invoke, code: str, detail: str) -> None:
        super().__init__(f"{op.kind}: {code} {detail}")
        self.code = code


class User:
    """One user in one viewer. Operations may be concurrent once it is connected; cancelling them is safe."""

    def __init__(
        self,
        number: int,
        target: Target,
        recorder: Recorder,
        progress: Progress,
        canaries: Canaries,
        *,
        seed: int,
        patience: float = 60.0,
        resumes: bool = False,
        viewer: int = 0,
    ) -> None:
        self.number = number
        self.random = random.Random(f"{seed}/{number}/{viewer}")
        self.patience = patience
        """How many seconds an operation may take before it is given up."""
        self.resumes = resumes
        """Whether it comes back when its connection is lost, and reads on where it stood."""
        self.abilities: frozenset[Ability] = target.abilities
        self.viewer = viewer
        self._target = target
        self._seed = seed
        self._recorder = recorder
        self._progress = progress
        self._canaries = canaries
        self._client: Client = target.client(number, viewer, recorder)
        self._client.on_closed = self._on_closed
        self._asking: dict[int, Invoke] = {}
        self._threads: set[str] = set()
        self._coming_back: asyncio.Task[None] | None = None
        self._leaving = False
        self._renewing: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._floods = 0
        self._intended: float | None = None

    def begin(self, intended: float) -> None:
        """The next operation counts from `intended`, a time of the history."""
        self._intended = intended

    def another_viewer(self, viewer: int) -> User:
        """The same user in a second tab, say; logged in when this one is."""
        return User(
            self.number,
            self._target,
            self._recorder,
            self._progress,
            self._canaries,
            seed=self._seed,
            patience=self.patience,
            resumes=self.resumes,
            viewer=viewer,
        )

    @property
    def canary(self) -> str:
        """A marker of this user, for names and for texts that are sent more than once."""
        return self._canaries.make(self.number, 0)

    @property
    def connected(self) -> bool:
        """Whether there is nothing to connect: it is connected, or the target has no connections to keep."""
        return bool(self._client.connection) or "connect" not in self.abilities

    def thread(self, name: str) -> str:
        """The id of the user's own thread of this name: of this run of the lab only, so that a target that remembers
        an earlier one does not mix them up, and nobody else's where threads have no owners."""
        own = "" if "intrude" in self.abilities else f"-{self.number}"
        return f"{name}-{self._canaries.nonce}{own}"

    # --- operations ---------------------------------------------------------------------------------------------------

    async def login(self) -> None:
        """Become somebody. Nothing where the target knows no users."""
        if "login" not in self.abilities:
            return
        op = self._invoke("login")
        async with self._outcome(op):
            await self._patiently(self._client.login(op))
        good_for = self._client.good_for
        if "refresh" in self.abilities and good_for is not None and good_for > RENEW_BEFORE:
            loop = asyncio.get_running_loop()
            self._renewing = loop.call_later(good_for - RENEW_BEFORE, self._spawn_renewal)

    def _spawn_renewal(self) -> None:
        self._renewal = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        """Log in again before the last login ends, and tell the connection."""
        with suppress(OperationError):  # recorded; the connection ends with its token then
            await self.login()
            if self._client.connection:
                op = self._invoke("refresh")
                async with self._outcome(op):
                    await self._replied(op, self._client.refresh(op))

    async def connect(self) -> None:
        """Open the connection. Nothing where it is open, or where the target has none to keep; who is coming back is
        waited for."""
        back = self._coming_back
        if back is not None and not back.done() and asyncio.current_task() is not back:
            await self._patiently(asyncio.shield(back))
        if self.connected or "connect" not in self.abilities:
            return
        op = self._invoke("connect")
        async with self._outcome(op):
            await self._patiently(self._client.connect())

    async def ask(
        self,
        text: str,
        *,
        thread: str,
        run: str | None = None,
        answer: str | None = None,
        patience: float | None = None,
    ) -> SeenRun:
        """Start a run and read it to its end. `{canary}` in `text` and `answer` becomes this operation's canary. `run`
        None: a new id. Raises `OperationError` also where the run ended with an error."""
        number = self._recorder.next_op()
        canary = self._canaries.make(self.number, number)
        op = self._invoke(
            "ask",
            op=number,
            thread=thread,
            run=run or f"run-{self._canaries.nonce}-{number}",
            text=text.replace("{canary}", canary),
            answer=answer.replace("{canary}", canary) if answer is not None and "echo" in self.abilities else None,
        )
        self._threads.add(thread)
        end = self._progress.end(op)
        self._asking[op.op] = op
        ended = False
        try:
            async with self._outcome(op):
                seen: SeenRun = await self._patiently(self._sent(self._send(op), end), patience)
                ended = True
                if seen.outcome == "error":
                    raise TargetError(seen.error, "the run ended with an error", definite=False)
                return seen
        finally:
            self._asking.pop(op.op, None)
            self._progress.forget(op)
            self._client.settled(op, ended=ended)
        raise AssertionError  # for mypy: the context manager above lets every exception out

    async def cancel(self, thread: str, run: str) -> None:
        """Stop a run."""
        op = self._invoke("cancel", thread=thread, run=run)
        async with self._outcome(op):
            await self._replied(op, self._client.cancel(op))

    async def attach(self, thread: str, *, epoch: str = "", after: int | None = None) -> Frame:
        """Read a thread on from `after`; None: from now on. Returns the reply."""
        op = self._invoke("attach", thread=thread, epoch=epoch, after=after)
        self._threads.add(thread)
        async with self._outcome(op):
            return await self._replied(op, self._client.attach(op))
        raise AssertionError

    async def history(self, thread: str) -> None:
        """Read a thread's messages. Nothing where the target cannot."""
        if "history" in self.abilities:
            op = self._invoke("history", thread=thread)
            async with self._outcome(op):
                await self._patiently(self._client.history(op))

    async def threads(self) -> None:
        """List the user's threads. Nothing where the target cannot."""
        if "threads" in self.abilities:
            op = self._invoke("threads")
            async with self._outcome(op):
                await self._patiently(self._client.threads(op))

    async def intrude(self, owner: int, thread: str, run: str) -> None:
        """Try to get at what is another user's; ok when every way is shut. Nothing where the target has no owners."""
        if "intrude" not in self.abilities:
            return
        op = self._invoke("intrude", thread=thread, run=run, owner=owner)
        reply = self._progress.reply(op)
        try:
            async with self._outcome(op):
                if await self._patiently(self._client.intrude(op)) and (await self._patiently(reply)).ok:
                    raise TargetError("admitted", "attach was accepted", definite=True)
        finally:
            self._progress.forget(op)

    @contextmanager
    def flood(self) -> Iterator[None]:
        """What comes in this block is a flood, in which the others are to fare as well as outside of it. Blocks may
        overlap: the flood is over with the last."""
        if self._floods == 0:
            self._recorder.noted("flood_begun", str(self.number))
        self._floods += 1
        try:
            yield
        finally:
            self._floods -= 1
            if self._floods == 0:
                self._recorder.noted("flood_ended", str(self.number))

    async def trespass(self, credential: Credential) -> None:
        """Try to get in with a credential that is none; ok when that was refused. Nothing where the target knows no
        users."""
        if "trespass" in self.abilities:
            op = self._invoke("trespass", text=credential)
            async with self._outcome(op):
                await self._patiently(self._client.trespass(op))

    def drop(self) -> None:
        """Vanish without a goodbye."""
        self._client.drop()

    async def back(self) -> None:
        """Wait until it has come back, where it is about to."""
        if self._coming_back is not None:
            await asyncio.shield(self._coming_back)

    def pause(self, *, reading: bool) -> None:
        """Stop or go on taking what comes."""
        self._client.pause(reading=reading)

    async def close(self) -> None:
        """Leave."""
        self._leaving = True
        if self._renewing is not None:
            self._renewing.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
        if self._coming_back is not None:
            self._coming_back.cancel()
            await asyncio.gather(self._coming_back, return_exceptions=True)
        await self._client.close()

    # --- behind them --------------------------------------------------------------------------------------------------

    def _invoke(self, kind: Kind, **fields: Any) -> Invoke:
        intended, self._intended = self._intended, None
        connection = self._client.connection
        return self._recorder.invoke(self.number, kind, intended=intended, connection=connection, **fields)

    @asynccontextmanager
    async def _outcome(self, op: Invoke) -> AsyncIterator[None]:
        """Record what comes of the operation in the block."""
        try:
            yield
        except TargetError as error:
            if error.code == "garbage" and op.connection and op.kind in _OVER_THE_CONNECTION:
                self._client.drop()  # nothing that comes over this connection can be read any more
            self._recorder.complete(op, "fail" if error.definite else "info", error.code, error.detail)
            raise OperationError(op, error.code, error.detail) from None
        except TimeoutError:
            self._recorder.complete(op, "info", "timeout", f"nothing in {self.patience:g} s")
            raise OperationError(op, "timeout", "") from None
        except asyncio.CancelledError:
            self._recorder.complete(op, "info", "abandoned")
            raise
        self._recorder.complete(op, "ok")

    async def _patiently(self, work: Awaitable[T], patience: float | None = None) -> T:
        async with asyncio.timeout(self.patience if patience is None else patience):
            return await work

    async def _sent(self, sending: Awaitable[None], then: Awaitable[T]) -> T:
        await sending
        return await then

    async def _send(self, op: Invoke) -> None:
        if self._client.connection or self._coming_back is None or self._coming_back.done():
            await self._client.ask(op)
        # else it is sent when the user is back

    async def _replied(self, op: Invoke, sending: Awaitable[None]) -> Frame:
        reply = self._progress.reply(op)
        try:
            frame = await self._patiently(self._sent(sending, reply))
        finally:
            self._progress.forget(op)
        if not frame.ok:
            raise refusal(frame)
        return frame

    def _on_closed(self, record: Closed, op: int) -> None:
        if self._leaving:
            return
        if self.resumes and "resume" in self.abilities:
            if self._coming_back is None or self._coming_back.done():
                self._coming_back = asyncio.ensure_future(self._come_back())
            return
        for asked in self._asking.values():
            if op in (0, asked.op):
                self._progress.lost(asked, record)

    async def _come_back(self) -> None:
        """Connect again until it works, and read on where each thread stands. The connection may be lost again
        meanwhile: then another one is tried."""
        for attempt in itertools.count():
            pause = RECONNECT_AFTER[min(attempt, len(RECONNECT_AFTER) - 1)]
            await asyncio.sleep(pause * self.random.uniform(0.5, 1.5))
            try:
                await self.connect()
                for asked in list(self._asking.values()):
                    if not self._progress.is_answered(asked):  # lost, maybe: the same run id starts nothing twice
                        await self._client.ask(asked)
                for thread in sorted(self._threads):
                    stream = self._recorder.judge.stream(self.number, self.viewer, thread)
                    if stream.epoch:
                        await self.attach(thread, epoch=stream.epoch, after=stream.seq)
            except (OperationError, TargetError):
                if not self._client.connection:
                    continue
            return
