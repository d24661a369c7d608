"""What a thread's stack tells of who is at work: whose agent, which tool, which line."""

from __future__ import annotations

import asyncio
import selectors
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import msgspec

from goldenpath.runtime.agents.tools import FunctionTool

DEPTH: Final = 20
"""So many frames of a stack are kept, the innermost ones."""
RUN_TASK: Final = "goldenpath-run"
"""What the name of a run's task begins with; its agent and its run id follow."""

_OURS: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_TOOL: Final = FunctionTool.call.__code__


class Work(msgspec.Struct, frozen=True):
    """What the event loop's thread was doing."""

    agent: str | None = None
    """The agent in whose run it was; None: in none, or in a task that an agent made by other means than `run.spawn`."""
    run_id: str | None = None
    """That run: for logs, not for pages that anybody may read."""
    tool: str | None = None
    """The tool function that was called; None: none."""
    place: str | None = None
    """File and line: the innermost that is neither a library's nor ours, else ours, else any. None: no code was at
    work, the process itself did not get on."""
    stack: tuple[str, ...] = ()
    """Files, lines and functions, the innermost last; no values."""


def task_name(agent: str, run_id: str) -> str:
    """The name of a task that works for this run."""
    return f"{RUN_TASK} {agent} {run_id}"


def codes_below() -> frozenset[CodeType]:
    """The code below the function that calls this one: of what runs the event loop, where the loop calls it."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the documented way
    codes = set()
    while frame is not None:
        codes.add(frame.f_code)
        frame = frame.f_back
    return frozenset(codes)


def work_of(thread: int, loop: asyncio.AbstractEventLoop, base: frozenset[CodeType]) -> Work:
    """What `thread`, which runs `loop`, is doing now; to be called in another thread. `base` is what `codes_below` gave
    in a callback of the loop."""
    task = asyncio.current_task(loop)
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)  # noqa: SLF001
    while frame is not None and frame.f_code not in base:
        frames.append(frame)
        frame = frame.f_back
    if not frames or frames[0].f_code.co_filename == selectors.__file__:
        return Work()
    agent, run_id = _run_of(task)
    tool = next((each.f_locals["self"].name for each in frames if each.f_code is _TOOL), None)
    return Work(agent, run_id, tool, _place(frames), tuple(map(_line, reversed(frames[:DEPTH]))))


def _run_of(task: asyncio.Task[Any] | None) -> tuple[str | None, str | None]:
    words = [] if task is None else task.get_name().split(" ")
    return (words[1], words[2]) if len(words) == 3 and words[0] == RUN_TASK else (None, None)


def _place(frames: list[FrameType]) -> str:
    ours = None
    for frame in frames:
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            ours = ours or frame
        elif not file.startswith(("<frozen ", *_LIBRARIES)):
            return _line(frame)
    return _line(ours or frames[0])


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
