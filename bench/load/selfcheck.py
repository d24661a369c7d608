"""Whether the load client's check catches what it has to: small streams with one fault each, and a clean one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bench import workload
from bench.load.tally import Tally
from bench.load.target import Target
from bench.load.user import User

Frames = list[dict[str, object]]


def clean(mark: str, thread_id: str = "t0", run_id: str = "r0") -> Frames:
    """One run's frames as a correct server sends them."""
    deltas = iter(workload.deltas(mark))
    content: dict[str, Callable[[], dict[str, object]]] = {
        "RUN_STARTED": lambda: {"input": {"messages": [{"role": "user", "content": workload.prompt(mark)}]}},
        "TEXT_MESSAGE_CONTENT": lambda: {"delta": next(deltas)},
        "TOOL_CALL_ARGS": lambda: {"delta": workload.tool_arguments(mark)},
        "TOOL_CALL_RESULT": lambda: {"content": workload.tool_answer(mark)},
    }
    return [
        {
            "thread_id": thread_id,
            "run_id": run_id,
            "seq": seq,
            "event": {"type": kind, **(content[kind]() if kind in content else {})},
        }
        for seq, kind in enumerate(workload.EVENT_TYPES, 1)
    ]


def _swapped(frames: Frames) -> Frames:
    frames[20], frames[21] = frames[21], frames[20]
    return frames


def _renumbered(frames: Frames) -> Frames:
    """Two deltas swapped and numbered as if nothing were wrong."""
    frames[20]["event"], frames[21]["event"] = frames[21]["event"], frames[20]["event"]
    return frames


def _missing(frames: Frames) -> Frames:
    """An event left out, and the numbers closed up behind it."""
    del frames[20]
    for seq, frame in enumerate(frames, 1):
        frame["seq"] = seq
    return frames


def _replaced(index: int, **values: object) -> Callable[[Frames], Frames]:
    def fault(frames: Frames) -> Frames:
        frames[index] = frames[index] | values
        return frames

    return fault


OTHER = workload.marker(7, 0)
FAULTS: dict[str, Callable[[Frames], Frames]] = {
    "an event twice": lambda frames: frames[:21] + frames[20:],
    "an event lost": lambda frames: frames[:20] + frames[21:],
    "an event lost and the numbers closed up": _missing,
    "two events swapped": _swapped,
    "two deltas swapped under right numbers": _renumbered,
    "a delta of another user": _replaced(20, event={"type": "TEXT_MESSAGE_CONTENT", "delta": OTHER + "14"}),
    "a tool result of another user": _replaced(4, event={"type": "TOOL_CALL_RESULT", "content": OTHER}),
    "a question of another user": _replaced(0, event={"type": "RUN_STARTED", "input": {"content": OTHER}}),
    "an event of another thread": _replaced(20, thread_id="t9"),
    "an event of another run": _replaced(20, run_id="r9"),
    "a run that was cancelled": _replaced(-1, event={"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}),
    "no terminal event": lambda frames: frames[:-1],
    "an event after the end": lambda frames: [*frames, frames[20] | {"seq": len(frames) + 1}],
    "the whole run twice": lambda frames: frames + frames,
}


def check(frames: Frames, together: int) -> Tally:
    """What a user finds who expects one clean run."""
    tally = Tally(expected=1)
    user = User(1, Target("none", ""), tally)
    user.plan(1, prefix="t")
    user.send(0.0)
    tally.failed.clear()  # there is no connection to send on
    for start in range(0, len(frames), together):
        lines = [msgspec.json.encode(frame) for frame in frames[start : start + together]]
        user.receive(b"\n".join(lines), 1.0)
    return tally


def run() -> tuple[int, list[str]]:
    """How many cases there are, and the ones that were judged wrong."""
    wrong = []
    mark = workload.marker(1, 0)
    for together in (1, 7, 100):
        if not check(clean(mark), together).is_clean:
            wrong.append(f"a clean stream, {together} together")
        wrong += [
            f"{name}, {together} together"
            for name, fault in FAULTS.items()
            if check(fault(clean(mark)), together).is_clean
        ]
    return 3 * (1 + len(FAULTS)), wrong
