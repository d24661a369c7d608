"""The deploy hook: how the code is rolled back, by a command or a URL that the operator gave.

It runs beside the server and has a bounded time; of what it says the end is kept.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Final

import httpx
import msgspec

from goldenpath.clock import Clock, timeout

MAX_OUTPUT: Final = 4096
"""How much of what the hook says is kept, its end, in bytes."""
_CHUNK: Final = 65_536
_LAST_WORDS: Final = 1.0
"""How long what a command left behind may go on to say something after its end, in seconds."""
_LOOK: Final = 0.2
"""How often it is looked whether it has ended, in seconds."""


class HookResult(msgspec.Struct, frozen=True):
    """How a call of the hook ended. `ok`: by exit code 0, or a status of 2xx. `output`: the end of what it said."""

    ok: bool
    ended: str
    seconds: float
    output: str


class HookFacts(msgspec.Struct, frozen=True):
    """What the hook is told, as JSON: in the body of a POST, or to the standard input of a command."""

    why: str
    actor: str
    environment: str
    version: str


class DeployHook:
    """`target` is an http or https URL, which is asked by POST, or a command line, which no shell reads. It may take
    `seconds`, then it is stopped, with everything that it started. May be called concurrently; cancelling stops it."""

    def __init__(self, target: str, seconds: float, clock: Clock) -> None:
        self._target = target
        self._seconds = seconds
        self._clock = clock

    async def run(self, facts: HookFacts) -> HookResult:
        """Call the hook and wait for its end. Raises nothing but by cancelling: what goes wrong is in the result."""
        started = self._clock.monotonic()
        output = bytearray()
        try:
            async with timeout(self._clock, self._seconds):
                is_url = self._target.startswith(("http://", "https://"))
                ok, ended = await (self._post(facts, output) if is_url else self._command(facts, output))
        except TimeoutError:
            ok, ended = False, f"timed out after {self._seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is: the hook did not do it, and that is to be known
            ok, ended = False, f"{type(error).__name__}: {error}"[:200]
        seconds = round(self._clock.monotonic() - started, 3)
        return HookResult(ok, ended, seconds, output.decode(errors="replace"))

    async def _post(self, facts: HookFacts, output: bytearray) -> tuple[bool, str]:
        headers = {"Content-Type": "application/json"}
        async with (
            httpx.AsyncClient(timeout=None) as client,  # noqa: S113 - bounded as a whole
            client.stream("POST", self._target, content=msgspec.json.encode(facts), headers=headers) as answer,
        ):
            async for part in answer.aiter_bytes():
                _keep(output, part)
        return answer.is_success, f"status {answer.status_code}"

    async def _command(self, facts: HookFacts, output: bytearray) -> tuple[bool, str]:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self._target),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that what it started can be stopped with it
        )
        assert process.stdin is not None
        assert process.stdout is not None
        reading = asyncio.create_task(_read(process.stdout, output))
        try:
            process.stdin.write(msgspec.json.encode(facts) + b"\n")
            process.stdin.close()  # a command that does not read it is no error
            exiting = asyncio.create_task(self._exit(process))
            try:
                await asyncio.wait((reading, exiting), return_when=asyncio.FIRST_COMPLETED)
            finally:
                exiting.cancel()
            if reading.done():
                await process.wait()
        finally:
            reading.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - what it left behind holds its pipe
            await asyncio.shield(process.wait())
            await asyncio.gather(reading, return_exceptions=True)
        return process.returncode == 0, f"exit code {process.returncode}"

    async def _exit(self, process: Process) -> None:
        """Wait until the command itself has ended, and a little for its last words. What it started may go on, and
        hold its output open: a new server, or the connection of an ssh. asyncio's own `wait` waits for that, too."""
        while process.returncode is None:
            await self._clock.sleep(_LOOK)
        await self._clock.sleep(_LAST_WORDS)


async def _read(said: asyncio.StreamReader, output: bytearray) -> None:
    while part := await said.read(_CHUNK):
        _keep(output, part)


def _keep(output: bytearray, part: bytes) -> None:
    output += part
    del output[:-MAX_OUTPUT]
