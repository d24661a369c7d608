"""Client commands and the server's frames on the WebSocket: one JSON object a line.

`decode` tells apart what docs/protocol.md tells apart: a line that is no command at all (`bad_frame`) and a known
command with wrong fields (`bad_request`).
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeGuard

import msgspec

from goldenpath.wire.depth import MAX_DEPTH, is_too_deep
from goldenpath.wire.errors import ErrorBody, RequestError
from goldenpath.wire.ids import is_epoch, is_name
from goldenpath.wire.messages import RunAgentInput

CommandId = str | int
"""Chosen by the client, repeated by the reply. A string has up to 128 characters."""
MAX_COMMAND_ID: Final = 128
MAX_DIGITS: Final = 4000
MAX_REASON: Final = 200
"""How much of a reason a refusal repeats: it may quote what was sent."""

OnBusy = Literal["enqueue", "reject", "interrupt"]
OnDisconnect = Literal["continue", "cancel"]


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A position in a thread's log: everything up to `seq` has been seen. `epoch` may be absent at seq 0."""

    seq: int
    epoch: str | None = None


class _Command(msgspec.Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True, gc=False):
    id: CommandId


class RunCommand(_Command, tag="run"):
    agent: str
    text: str | None = None
    input: RunAgentInput | None = None
    thread_id: str | None = None
    run_id: str | None = None
    on_disconnect: OnDisconnect = "continue"
    on_busy: OnBusy = "enqueue"


class AttachCommand(_Command, tag="attach"):
    thread_id: str
    after: Cursor | None = None


class DetachCommand(_Command, tag="detach"):
    thread_id: str


class CancelCommand(_Command, tag="cancel"):
    thread_id: str
    run_id: str | None = None


class RefreshCommand(_Command, tag="refresh"):
    token: str


class PingCommand(_Command, tag="ping"):
    pass


Command = RunCommand | AttachCommand | DetachCommand | CancelCommand | RefreshCommand | PingCommand

_ID_RULE: Final = f"id: a string of up to {MAX_COMMAND_ID} characters, or an integer"

OPS: Final = frozenset({"run", "attach", "detach", "cancel", "refresh", "ping"})

_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_encoder = msgspec.json.Encoder()


class BadCommand(RequestError):
    """A line that cannot be carried out. `re` is the command's id where it had a valid one, else None."""

    def __init__(self, code: Literal["bad_frame", "bad_request"], message: str, re: CommandId | None) -> None:
        super().__init__(code, message)
        self.re = re


def decode(line: bytes | str) -> Command:
    """One command from one line. Raises `BadCommand` and nothing else, whatever the line holds."""
    try:
        command = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _classify(line, error) from None
    if isinstance(command.id, str) and len(command.id) > MAX_COMMAND_ID:
        raise BadCommand("bad_frame", _ID_RULE, None)
    _check(command)
    if isinstance(command, RunCommand) and command.input is not None and is_too_deep(line):
        raise BadCommand("bad_request", f"run: input is nested deeper than {MAX_DEPTH}", command.id)
    return command


def _classify(line: bytes | str, error: Exception) -> BadCommand:
    try:
        # The standard library reads what msgspec refuses though it is JSON by its grammar: half a surrogate pair, as
        # a browser sends when a program cut an emoji in two, or a number beyond every range.
        text = line if isinstance(line, str) else line.decode()
        value = json.loads(text, parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        return BadCommand("bad_frame", "not JSON", None)
    if not isinstance(value, dict):
        return BadCommand("bad_frame", "a command is a JSON object", None)
    command_id = value.get("id")
    if not _is_command_id(command_id):
        return BadCommand("bad_frame", _ID_RULE, None)
    op = value.get("op")
    if not isinstance(op, str) or op not in OPS:
        return BadCommand("bad_frame", f"unknown op; known are {', '.join(sorted(OPS))}", command_id)
    why = (
        str(error) if isinstance(error, msgspec.ValidationError) else "holds half a surrogate pair or too big a number"
    )
    return BadCommand("bad_request", f"{op}: {why[:MAX_REASON]}", command_id)


def _is_command_id(value: object) -> TypeGuard[CommandId]:
    if isinstance(value, str):
        return len(value) <= MAX_COMMAND_ID and not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    # Python refuses to convert very long numbers; such a one is no id, and wrong in any field.
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


def _check(command: Command) -> None:
    """The rules that types alone do not say."""

    def refuse(message: str) -> BadCommand:
        return BadCommand("bad_request", message, command.id)

    if isinstance(command, RunCommand):
        if (command.text is None) == (command.input is None):
            raise refuse("run: give exactly one of text and input")
        if not is_name(command.agent):
            raise refuse("run: agent is not a valid name")
        if command.run_id is not None and not is_name(command.run_id):
            raise refuse("run: run_id is not a valid id")
        if command.input is not None:
            named = command.input
            for field, ours, theirs in (
                ("thread_id", command.thread_id, named.thread_id),
                ("run_id", command.run_id, named.run_id),
            ):
                if theirs is not None and not is_name(theirs):
                    raise refuse(f"run: the {field} of input is not a valid id")
                if ours is not None and theirs is not None and ours != theirs:
                    raise refuse(f"run: input names another {field}")
    thread_id = getattr(command, "thread_id", None)
    if thread_id is not None and not is_name(thread_id):
        raise refuse("thread_id is not a valid id")
    if isinstance(command, CancelCommand) and command.run_id is not None and not is_name(command.run_id):
        raise refuse("cancel: run_id is not a valid id")
    if isinstance(command, AttachCommand) and command.after is not None:
        check_cursor(command.after, refuse)


def check_cursor(cursor: Cursor, refuse: Any = None) -> None:
    """Raise `bad_request` (made by `refuse` from a message) where a cursor breaks docs/protocol.md's rules."""
    if refuse is None:

        def refuse(message: str) -> RequestError:
            return RequestError("bad_request", message)

    if cursor.seq < 0:
        raise refuse("after: seq is a non-negative integer")
    if cursor.epoch is None:
        if cursor.seq > 0:
            raise refuse("after: an epoch is needed with a seq above 0")
    elif not is_epoch(cursor.epoch):
        raise refuse("after: epoch is not valid")


# --- what the server sends ------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True):
    """What one user may ask for, as `welcome` tells it."""

    max_message_bytes: int
    max_attached_threads: int
    max_running: int
    max_queued: int


class Welcome(msgspec.Struct, tag_field="type", tag="welcome"):
    protocol: int
    connection_id: str
    user_id: str
    heartbeat: float
    limits: Limits


class Detached(msgspec.Struct, tag_field="type", tag="detached"):
    thread_id: str
    reason: str


class TokenExpiring(msgspec.Struct, tag_field="type", tag="token_expiring"):
    expires_in: float


class ErrorReply(msgspec.Struct):
    re: CommandId | None
    error: ErrorBody
    ok: Literal[False] = False


class Ok(msgspec.Struct):
    """The reply to `detach`."""

    re: CommandId
    ok: Literal[True] = True


class RunReply(msgspec.Struct):
    """`gap` is there only where a known run's events are no longer held: as in the reply to `attach`, a snapshot at
    `seq` comes next."""

    re: CommandId
    thread_id: str
    run_id: str
    status: str
    epoch: str
    seq: int
    gap: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    ok: Literal[True] = True


class AttachReply(msgspec.Struct):
    re: CommandId
    thread_id: str
    epoch: str
    seq: int
    head: int
    gap: bool
    ok: Literal[True] = True


class CancelReply(msgspec.Struct):
    re: CommandId
    cancelled: list[str]
    ok: Literal[True] = True


class RefreshReply(msgspec.Struct):
    re: CommandId
    expires_in: float
    ok: Literal[True] = True


class PingReply(msgspec.Struct):
    re: CommandId
    time: str
    ok: Literal[True] = True


Frame = (
    Welcome
    | Detached
    | TokenExpiring
    | ErrorReply
    | Ok
    | RunReply
    | AttachReply
    | CancelReply
    | RefreshReply
    | PingReply
)


def encode(frame: Frame) -> bytes:
    """A server frame as one line of JSON, without the line break."""
    return _encoder.encode(frame)


EVENT_FRAME: Final = b'%b%d,"event":%b}'
"""An event's frame: what `event_frame_start` gives, the event's seq, the event's own JSON."""


def event_frame_start(thread_id: str, run_id: str | None) -> bytes:
    """The part of an event's frame that all events of one run share, up to the number."""
    run = b"null" if run_id is None else b'"%b"' % run_id.encode()
    return b'{"thread_id":"%b","run_id":%b,"seq":' % (thread_id.encode(), run)
