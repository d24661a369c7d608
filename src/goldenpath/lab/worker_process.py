"""A worker process, seen by who starts it: started, spoken to, listened to, ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from goldenpath.lab.target import TargetError
from goldenpath.lab.worker import PULSE, Broken, Done, Message, Plan, Ready, Unreachable

STOPPING: Final = 15.0
"""Seconds that workers have to abandon what is under way, close, and write the rest of their history."""


SILENCE: Final = 30.0
"""Seconds without a word of a worker, after which it is given up: one that works says every second that it is there."""


class WorkerCrashed(Exception):
    """A worker process ended, or cannot go on, before its users were ready: a fault of the lab's own."""


class WorkerProcess:
    """One worker. Belongs to the event loop that started it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, silence: float) -> None:
        self._number = number
        self._process = process
        self._silence = silence
        self._given_up = ""
        """Why it was killed."""
        self._decode = msgspec.json.Decoder(Message).decode

    @classmethod
    async def start(cls, plan: Plan, silence: float = SILENCE) -> WorkerProcess:
        """`silence`: after so many seconds without a word of it, it is given up."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "goldenpath.lab.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        worker = cls(plan.load.worker, process, silence)
        worker.say(msgspec.json.encode(plan).decode())
        return worker

    def say(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode() + b"\n")

    async def _next(self) -> Message | None:
        """None: it has said its last, or says nothing any more and was killed."""
        assert self._process.stdout is not None
        reading = asyncio.ensure_future(self._process.stdout.readline())
        silent = 0.0
        try:
            while not (await asyncio.wait([reading], timeout=PULSE))[0]:
                silent += PULSE  # counted, not read off a clock: while the lab itself is stopped nobody listens
                if silent >= self._silence:
                    self.give_up(f"does not answer: nothing came from it for {self._silence:g} s")
            line = await reading
        finally:
            reading.cancel()
        return self._decode(line) if line else None

    async def until_ready(self) -> None:
        """Raises `TargetError` where its users cannot be set up."""
        while True:
            match await self._next():
                case Ready():
                    return
                case Unreachable(why):
                    raise TargetError("unreachable", why)
                case Broken(why):
                    raise WorkerCrashed(why)
                case None:
                    raise WorkerCrashed(await self._last_words())

    async def follow(self, on_message: Callable[[int, Message], None]) -> str:
        """Until it has ended. Returns why it did, where it should not have."""
        done = False
        while (message := await self._next()) is not None:
            done = done or isinstance(message, Done)
            on_message(self._number, message)
        return "" if done else await self._last_words()

    async def _last_words(self) -> str:
        if self._given_up:
            return f"worker {self._number} {self._given_up}"
        assert self._process.stderr is not None
        words = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines()
        return f"worker {self._number} ended: {words[-1] if words else f'exit code {await self._process.wait()}'}"

    def give_up(self, why: str) -> None:
        """Kill it, and say later why. Nothing where it has ended."""
        if self._process.returncode is None:
            self._given_up = self._given_up or why
            self.kill()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Close its stdin, which ends it; kill it where that does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOPPING):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
