"""The `scripted` agent: does what the JSON program in the last user message says (docs/agents/scripted.md).

It exists so that every behaviour of an agent, good and bad, can be had on purpose: by demos and by tests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import msgspec

from goldenpath.runtime.agents import program as p
from goldenpath.runtime.run import Run
from goldenpath.wire.errors import RequestError
from goldenpath.wire.messages import ToolMessage

ECHO_SIZE: Final = 4096
"""Characters in a delta of what `echo` shows."""


class ScriptedError(Exception):
    """What a program's `error` step without a code raises, as any agent's code might."""


async def scripted(run: Run) -> Any:
    """Does what the JSON program in your message says: deltas, tools, delays, errors (docs/agents/scripted.md).

    Raises `RequestError` (`bad_request`) for a message that is no program, and whatever the program asks for.
    """
    program = p.parse(run.user_text)
    steps: Sequence[p.Step] = program.steps
    if answers(run):
        steps = [p.Echo(what="answers")] if program.then is None else program.then
    seed = run.context.run_id if program.seed is None else program.seed
    player = _Player(run, Random(f"{seed}"))  # noqa: S311 - repeatable, not secret
    await player.play(steps)
    return player.result


def answers(run: Run) -> list[dict[str, Any]]:
    """What this run was started to answer: interrupts, or the tool results that the history ends with."""
    if run.input.resume:
        return [
            {"interrupt_id": entry.interrupt_id, "status": entry.status, "payload": entry.payload}
            for entry in run.input.resume
        ]
    results: list[dict[str, Any]] = []
    for message in reversed(run.messages):
        if not isinstance(message, ToolMessage):
            break
        results.append({"tool_call_id": message.tool_call_id, "content": message.content})
    return results[::-1]


class _Player:
    """Carries out steps. `result` is what the program returns."""

    def __init__(self, run: Run, random: Random) -> None:
        self._run = run
        self._random = random
        self.result: Any = None

    async def play(self, steps: Sequence[p.Step]) -> bool:
        """Carry out `steps` in order. False when a `return` ended them."""
        for step in steps:
            if not await self._step(step):
                return False
        return True

    async def _step(self, step: p.Step) -> bool:
        run = self._run
        match step:
            case p.Say():
                async with run.message() as message:
                    await self._write(message.write, self._cut(step.text, step.size), step.delay_ms)
            case p.Reason():
                async with run.reasoning() as thought:
                    await self._write(thought.write, self._cut(step.text, step.size), step.delay_ms)
            case p.Deltas():
                async with run.message() as message:
                    await self._write(message.write, self._filled(step), step.delay_ms)
            case p.Sleep():
                await self._wait(step.ms)
            case p.Tool():
                await self._tool(step)
            case p.State():
                await run.state(step.snapshot)
            case p.StateDelta():
                await run.state_delta(step.delta)
            case p.NamedStep():
                async with run.step(step.name):
                    return await self.play(step.steps)
            case p.Custom():
                await run.custom(step.name, step.value)
            case p.Emit():
                await run.emit(step.event)
            case p.Usage():
                run.usage(step.tokens)
            case p.Error():
                if step.code is None:
                    raise ScriptedError(step.message)
                raise RequestError(step.code, step.message, retry_after=step.retry_after)
            case p.Block():
                seconds = self._pick(step.ms) / 1000
                if step.where == "thread":
                    await run.in_thread(time.sleep, seconds)
                else:
                    time.sleep(seconds)  # noqa: ASYNC251 - to stop the loop is what the program asked for
            case p.IgnoreCancel():
                await self._ignore_cancel(self._pick(step.ms) / 1000)
            case p.Interrupt():
                run.interrupt(
                    step.reason,
                    message=step.message,
                    response_schema=step.response_schema,
                    metadata=step.metadata,
                    interrupt_id=step.id,
                )
            case p.Parallel():
                await self._parallel(step)
            case p.Repeat():
                for _ in range(self._pick(step.times)):
                    if not await self.play(step.steps):
                        return False
            case p.Choose():
                return await self.play(self._random.choice(step.of))
            case p.Cleanup():
                run.on_cleanup(lambda: self._clean_up(step))
            case p.Echo():
                async with run.message() as message:
                    await self._write(message.write, self._cut(self._shown(step.what), ECHO_SIZE), 0)
            case p.Return():
                self.result = step.value
                return False
        return True

    # --- amounts ------------------------------------------------------------------------------------------------------

    def _pick(self, amount: p.Amount) -> int:
        return amount if isinstance(amount, int) else self._random.randint(*amount)

    async def _wait(self, amount: p.Amount) -> None:
        await self._run.clock.sleep(self._pick(amount) / 1000)

    def _cut(self, text: str, size: p.Amount) -> Iterator[str]:
        start = 0
        while start < len(text):
            end = start + self._pick(size)
            yield text[start:end]
            start = end

    def _filled(self, step: p.Deltas) -> Iterator[str]:
        """Deltas that are one endless repetition of `fill`, so that a lost or doubled one shows."""
        longest = step.size if isinstance(step.size, int) else step.size[1]
        period = len(step.fill)
        text = step.fill * (longest // period + 2)
        start = 0
        for _ in range(self._pick(step.count)):
            size = self._pick(step.size)
            yield text[start : start + size]
            start = (start + size) % period

    async def _write(self, write: Any, deltas: Iterator[str], delay: p.Amount) -> None:
        for delta in deltas:
            if delay:
                await self._wait(delay)
            await write(delta)

    # --- the longer steps -----------------------------------------------------------------------------------------

    async def _tool(self, step: p.Tool) -> None:
        run = self._run
        async with run.tool_call(step.name) as call:
            for piece in self._cut(_json(step.args), step.size):
                await call.args(piece)
        if step.ms:
            await self._wait(step.ms)
        if step.pending:
            run.pending(call.id)
        else:
            await run.tool_result(call.id, step.result if isinstance(step.result, str) else _json(step.result))

    async def _parallel(self, step: p.Parallel) -> None:
        # Each branch has random numbers of its own: which ones it gets must not depend on how the branches interleave.
        players = [_Player(self._run, Random(self._random.getrandbits(64))) for _ in step.branches]  # noqa: S311
        tasks = [self._run.spawn(player.play(branch)) for player, branch in zip(players, step.branches, strict=True)]
        if step.wait and tasks:
            # Not gather: a branch that raises ends the run through its task group, and must not raise here as well.
            await asyncio.wait(tasks)

    async def _ignore_cancel(self, seconds: float) -> None:
        clock = self._run.clock
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0:
            try:
                await clock.sleep(left)
            except asyncio.CancelledError:
                continue

    async def _clean_up(self, step: p.Cleanup) -> None:
        await self._wait(step.ms)
        if step.error is not None:
            raise ScriptedError(step.error)

    def _shown(self, what: str) -> str:
        run = self._run
        match what:
            case "input":
                return _json(run.input)
            case "messages":
                return _json(run.messages)
            case "answers":
                return _json(answers(run))
        context = run.context
        principal = context.principal
        return _json(
            {
                "user_id": principal.user_id,
                "email": principal.email,
                "permissions": sorted(principal.permissions),
                "tier": principal.tier,
                "thread_id": context.thread_id,
                "run_id": context.run_id,
                "request_id": context.request_id,
                "messages": len(run.messages),
            }
        )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
