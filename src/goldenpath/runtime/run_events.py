"""The events of a run that are the server's and not its agent's: RUN_STARTED, what closes it, the terminal event.

`Execution` appends them to the runs of this process, `Recovery` to those that an earlier one left.
"""

from __future__ import annotations

from typing import Any, Final

from goldenpath.runtime.engine import Outcome
from goldenpath.runtime.interfaces import RunRow
from goldenpath.runtime.run_states import Step, after
from goldenpath.runtime.thread_log import ThreadLog
from goldenpath.wire import events as ev
from goldenpath.wire.errors import RequestError
from goldenpath.wire.events import encode, seal
from goldenpath.wire.ids import RunId
from goldenpath.wire.messages import Message, RunAgentInput, StartedInput
from goldenpath.wire.order import RunOrder

MAX_MESSAGE: Final = 4096
"""How many characters of an error's message RUN_ERROR tells."""

_STEPS: Final[dict[str, Step]] = {
    "finished": "finish",
    "interrupt": "finish",
    "failed": "fail",
    "cancelled": "cancel",
}


def append_started(log: ThreadLog, row: RunRow, given: RunAgentInput, now: float) -> None:
    """Append RUN_STARTED with those of the given messages that are new in the thread, whose transcript is loaded."""
    row.started_at = now
    log.begin_run(RunId(row.run_id))
    row.first_seq = log.head + 1
    known = log.transcript.ids if log.transcript is not None else ()
    new: dict[str, Message] = {}
    for message in given.messages:
        if message.id not in known:
            new.setdefault(message.id, message)
    started = ev.RunStarted(
        thread_id=log.key.thread_id,
        run_id=row.run_id,
        protocol_version=ev.PROTOCOL_VERSION,
        parent_run_id=given.parent_run_id,
        input=StartedInput(
            thread_id=log.key.thread_id,
            run_id=row.run_id,
            messages=list(new.values()),
            parent_run_id=given.parent_run_id,
            state=given.state,
            tools=given.tools,
            context=given.context,
            forwarded_props=given.forwarded_props,
            resume=given.resume,
        ),
    )
    log.append(encode(started))
    log.fold_last(started)


def end_run(
    log: ThreadLog,
    row: RunRow,
    order: RunOrder,
    outcome: Outcome,
    now: float,
    *,
    pending: list[str] | None = None,
    usage: list[dict[str, Any]] | None = None,
    max_bytes: int | None = None,
) -> None:
    """Append what closes the run and its terminal event, and set the row accordingly. The run's slice is the last.

    Where the terminal event would be no JSON, or more than `max_bytes` (None: no limit), what the agent put into it is
    left out: a run that finished has failed then, a cancel or an error stays what it is."""
    terminal = _terminal_event(log, row, outcome, pending)
    terminal.usage = usage or None
    failure: RequestError | None = None
    try:
        sealed = seal(terminal)
    except (TypeError, ValueError, RecursionError):
        failure = RequestError("agent_error", "the agent's last word cannot be shown as JSON")
    else:
        if max_bytes is not None and len(sealed) > max_bytes:
            message = f"the run's last event has {len(sealed)} bytes; at most {max_bytes} are allowed"
            failure = RequestError("payload_too_large", message)
    if failure is not None:
        if outcome.kind in ("finished", "interrupt"):
            outcome = Outcome("failed", error=failure)
        sealed = seal(_terminal_event(log, row, outcome, None))
    status = after(row.status, "lose" if _is_loss(outcome) else _STEPS[outcome.kind])
    for event in order.closing():
        log.append(encode(event))
    log.append(sealed)
    row.status = status
    row.finished_at = now
    row.error = outcome.error.code if outcome.error is not None else None
    row.last_seq = log.head
    row.input = None
    log.end_run(row)


def _shown(message: str) -> str:
    """An agent may raise `RequestError` with any text: what of it can be told."""
    return message[:MAX_MESSAGE].encode(errors="replace").decode()


def lost(why: str) -> Outcome:
    """The outcome of a run that the process loses: it stops, or stopped, without waiting for the run's own end."""
    return Outcome("failed", error=RequestError("run_interrupted", why))


def _is_loss(outcome: Outcome) -> bool:
    # By the code, whoever gave it: the row says what the log says.
    return outcome.error is not None and outcome.error.code == "run_interrupted"


def _terminal_event(
    log: ThreadLog, row: RunRow, outcome: Outcome, pending: list[str] | None
) -> ev.RunFinished | ev.RunError:
    thread_id = log.key.thread_id
    match outcome.kind:
        case "finished":
            success = ev.SuccessOutcome(pending_tool_call_ids=pending or None)
            return ev.RunFinished(thread_id, row.run_id, result=outcome.result, outcome=success)
        case "interrupt":
            return ev.RunFinished(thread_id, row.run_id, outcome=ev.InterruptOutcome(outcome.interrupts or []))
        case "cancelled":
            return ev.RunFinished(thread_id, row.run_id, outcome=ev.CancelledOutcome())
        case _:
            error = outcome.error or RequestError("internal", "the run failed")
            return ev.RunError(_shown(error.message), code=error.code)
