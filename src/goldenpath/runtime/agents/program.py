"""The language of the `scripted` agent: what a program may hold, and its bounds. docs/agents/scripted.md is its manual.

A program is JSON, checked as a whole before its first step runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from goldenpath.wire import events as ev
from goldenpath.wire.errors import ErrorName, RequestError

MAX_DEPTH: Final = 8
"""How deep steps may lie within steps."""
MAX_STEPS: Final = 100_000
"""How many steps a run of the program may take, repetitions counted."""
MAX_BRANCHES: Final = 100
MAX_WAIT: Final = 600_000
"""Milliseconds."""
MAX_BLOCK: Final = 60_000
"""Milliseconds."""
MAX_DELTAS: Final = 1_000_000
MAX_SIZE: Final = 4 << 20
"""Characters of one delta."""

Amount = int | tuple[int, int]
"""A number, or `[low, high]`: a random one between them, both included. Its bounds are in `_BOUNDS`, not in the type:
msgspec 0.22 crashes on a constrained integer in a union with a tuple."""


class _Step(msgspec.Struct, tag_field="do", forbid_unknown_fields=True, kw_only=True):
    """One step. Waits are in milliseconds, sizes in characters."""


class Say(_Step, tag="say"):
    text: str
    size: Amount = 8
    delay_ms: Amount = 0


class Reason(_Step, tag="reason"):
    text: str
    size: Amount = 8
    delay_ms: Amount = 0


class Deltas(_Step, tag="deltas"):
    count: Amount
    size: Amount = 8
    delay_ms: Amount = 0
    fill: Annotated[str, Meta(min_length=1)] = "abcdefghijklmnopqrstuvwxyz "


class Sleep(_Step, tag="sleep"):
    ms: Amount


class Tool(_Step, tag="tool"):
    name: Annotated[str, Meta(min_length=1)]
    args: Any = {}
    ms: Amount = 0
    result: Any = "ok"
    pending: bool = False
    size: Amount = 32


class State(_Step, tag="state"):
    snapshot: Any


class StateDelta(_Step, tag="state_delta"):
    delta: list[dict[str, Any]]


class NamedStep(_Step, tag="step"):
    name: str
    steps: list[Step]


class Custom(_Step, tag="custom"):
    name: str
    value: Any = None


class Emit(_Step, tag="emit"):
    event: ev.Event


class Usage(_Step, tag="usage"):
    tokens: dict[str, Any]


class Error(_Step, tag="error"):
    message: str
    code: ErrorName | None = None
    retry_after: Annotated[float, Meta(ge=0)] | None = None


class Block(_Step, tag="block"):
    ms: Amount
    where: Literal["thread", "loop"] = "thread"


class IgnoreCancel(_Step, tag="ignore_cancel"):
    ms: Amount


class Interrupt(_Step, tag="interrupt"):
    reason: str
    message: str | None = None
    response_schema: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    id: str | None = None


class Parallel(_Step, tag="parallel"):
    branches: Annotated[list[list[Step]], Meta(max_length=MAX_BRANCHES)]
    wait: bool = True


class Repeat(_Step, tag="repeat"):
    times: Amount
    steps: list[Step]


class Choose(_Step, tag="choose"):
    of: Annotated[list[list[Step]], Meta(min_length=1)]


class Cleanup(_Step, tag="cleanup"):
    ms: Amount = 0
    error: str | None = None


class Echo(_Step, tag="echo"):
    what: Literal["context", "input", "messages", "answers"] = "context"


class Return(_Step, tag="return"):
    value: Any = None


Step = (
    Say
    | Reason
    | Deltas
    | Sleep
    | Tool
    | State
    | StateDelta
    | NamedStep
    | Custom
    | Emit
    | Usage
    | Error
    | Block
    | IgnoreCancel
    | Interrupt
    | Parallel
    | Repeat
    | Choose
    | Cleanup
    | Echo
    | Return
)


STEPS: Final[tuple[str, ...]] = tuple(str(kind.__struct_config__.tag) for kind in get_args(Step))
"""What `do` may be."""


class Program(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A whole program. `then` is what runs instead of `steps` when the run answers an interrupt or a pending tool
    call; None shows the answers. `seed` makes its random numbers repeatable; None takes the run's id."""

    steps: list[Step]
    then: list[Step] | None = None
    seed: int | str | None = None


_NOT_EMITTED: Final = (
    ev.RunStarted,
    ev.RunFinished,
    ev.RunError,
    ev.TextMessageChunk,
    ev.ToolCallChunk,
    ev.ReasoningMessageChunk,
)

_BOUNDS: Final = {
    "count": (0, MAX_DELTAS),
    "delay_ms": (0, MAX_WAIT),
    "ms": (0, MAX_WAIT),
    "size": (1, MAX_SIZE),
    "times": (0, MAX_STEPS),
}

_decoder = msgspec.json.Decoder(Program)


def parse(text: str) -> Program:
    """The program that `text` holds. Raises `RequestError` (`bad_request`) whose message names the step that is wrong,
    e.g. `$.steps[2].ms`."""
    try:
        program = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        known = f" (known are {', '.join(STEPS)})" if str(error).endswith(".do`") else ""
        raise _bad(f"{error}{known}") from None
    for name, steps in (("steps", program.steps), ("then", program.then or [])):
        taken = _check(steps, f"$.{name}", 1)
        if taken > MAX_STEPS:
            raise _bad(f"takes {taken} steps, at most {MAX_STEPS} are allowed - at `$.{name}`")
    return program


def _check(steps: Sequence[Step], path: str, depth: int) -> int:
    """How many steps `steps` take at most. Raises for what types alone do not say."""
    taken = 0
    for index, step in enumerate(steps):
        here = f"{path}[{index}]"
        _check_amounts(step, here)
        if isinstance(step, Emit) and isinstance(step.event, _NOT_EMITTED):
            raise _bad(f"RUN_* are the server's to send, and *_CHUNK have other steps - at `{here}.event`")
        inner = 0
        for place, nested in _nested(step, here):
            if depth >= MAX_DEPTH:
                raise _bad(f"steps lie more than {MAX_DEPTH} deep - at `{place}`")
            count = _check(nested, place, depth + 1)
            inner = max(inner, count) if isinstance(step, Choose) else inner + count
        times = _most(step.times) if isinstance(step, Repeat) else 1
        taken += 1 + times * inner
    return taken


def _nested(step: Step, here: str) -> Iterator[tuple[str, list[Step]]]:
    match step:
        case NamedStep() | Repeat():
            yield f"{here}.steps", step.steps
        case Parallel():
            yield from ((f"{here}.branches[{index}]", branch) for index, branch in enumerate(step.branches))
        case Choose():
            yield from ((f"{here}.of[{index}]", branch) for index, branch in enumerate(step.of))


def _check_amounts(step: Step, here: str) -> None:
    for field, (least, most) in _BOUNDS.items():
        amount = getattr(step, field, None)
        if amount is None:
            continue
        allowed = MAX_BLOCK if field == "ms" and isinstance(step, Block | IgnoreCancel | Cleanup) else most
        low, high = (amount, amount) if isinstance(amount, int) else amount
        if not least <= low <= high <= allowed:
            raise _bad(f"a number from {least} to {allowed}, or a range [low, high] of them - at `{here}.{field}`")


def _most(amount: int | tuple[int, int]) -> int:
    return amount if isinstance(amount, int) else amount[1]


def _bad(why: str) -> RequestError:
    return RequestError("bad_request", f"scripted: not a program: {why}")
