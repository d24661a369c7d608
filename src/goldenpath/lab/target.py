"""The system under test, as the lab sees it. Adapters are in `goldenpath.lab.targets`.

An adapter only does I/O: it sends what an operation asks, and gives every byte that comes back to the recorder. What
the bytes mean is its format's to say (`goldenpath.lab.formats`), so that a stored history can be read without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, Protocol

from goldenpath.lab.records import Closed, Invoke

Ability = Literal[
    "login", "refresh", "connect", "resume", "cancel", "history", "threads", "intrude", "trespass", "echo"
]
"""What a target may be asked for, besides asking. `connect`: its users keep a connection; without it each operation has
one of its own. `intrude`: its threads have owners, so that two users may have threads of the same name. `trespass`: it
lets nobody in without a token. `echo`: it answers a text with the same text. What a target cannot do, users leave
out."""

Credential = Literal["no token", "a made-up token"]
"""What somebody may come with who is nobody."""

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of one message or one HTTP answer (when it is unpacked) that are taken; of a larger one nothing is."""
TOO_LARGE: Final = f"more than {LARGEST // 1024**2} MiB in one piece"

CODES: Final = {
    "unreachable": "no connection could be made",
    "refused": "the target answered with an error that has no code of its own",
    "redirected": "the target answered with a redirect, and users of the lab follow none",
    "garbage": "the target answered with something that cannot be read",
    "disconnected": "the connection was lost, and with it what came of the operation",
    "timeout": "nothing came in the time that the scenario allows",
    "slow": "it still went on when all patience was over",
    "admitted": "what belongs to another user was not refused",
    "abandoned": "the run of the lab ended first",
    "unable": "the target does not have this ability",
}
"""The lab's own words for why an operation is not ok. All others are the target's."""


class TargetError(Exception):
    """An operation did not succeed. `definite`: it certainly had no effect."""

    def __init__(self, code: str, detail: str, *, definite: bool = True) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.definite = definite


class Sink(Protocol):
    """Where an adapter brings what it sees. Every call is synchronous and cheap."""

    def opened(self, user: int, viewer: int | None, op: int = 0) -> int:
        """A connection is open; returns its number. `viewer` None: one that lives as long as the connection. `op`: the
        operation whose answer it is and nothing else; 0: it serves many."""
        ...

    def received(self, user: int, connection: int, payload: bytes) -> None:
        """A whole WebSocket message or a piece of a streamed answer came."""
        ...

    def answered(self, user: int, op: int, status: int, body: bytes) -> None:
        """A whole HTTP answer came."""
        ...

    def overheard(self, user: int, place: str, payload: bytes) -> None:
        """Something came that is neither, e.g. a header or the payload of a ping; `place` says where, in words."""
        ...

    def closed(self, user: int, connection: int, *, ours: bool, code: int = 0) -> Closed:
        """A connection is no more."""
        ...


class Client(Protocol):
    """One viewer of one user. Its methods send; what comes of an `ask`, `attach` or `cancel` comes through the sink.

    All raise `TargetError`. Cancelling any of them is safe; calls may be concurrent once it is connected.
    """

    in_turn: bool
    """Whether nothing tells answers on a connection apart: its user asks one question after another."""

    on_closed: Callable[[Closed, int], None] | None
    """Told when a connection is gone, after the sink was, and the number of the operation that it served alone; 0: it
    served all."""

    @property
    def connection(self) -> int:
        """The number of the connection that operations go over; 0: none, or each has one of its own."""
        ...

    async def login(self, op: Invoke) -> None:
        """Become somebody. Viewers of the same user share it."""
        ...

    @property
    def good_for(self) -> float | None:
        """Seconds that the last login was good for, from its answer on; None: not known, or for ever."""
        ...

    async def refresh(self, op: Invoke) -> None:
        """Tell the connection of a new login."""
        ...

    async def connect(self) -> None:
        """Open the connection."""
        ...

    def ask(self, op: Invoke) -> Awaitable[None] | None:
        """Start a run. Returns None where it is sent, else what to wait for until it is sent, or, over HTTP,
        accepted."""
        ...

    def settled(self, op: Invoke, *, ended: bool) -> None:
        """An `ask` is over for who asked: its run ended (with an error or without), or was refused, lost or given up
        (`ended` False)."""
        ...

    async def attach(self, op: Invoke) -> None:
        """Go on reading a thread after `op.after` of `op.epoch`."""
        ...

    async def cancel(self, op: Invoke) -> None:
        """Stop a run."""
        ...

    async def history(self, op: Invoke) -> None:
        """Read a thread's messages."""
        ...

    async def threads(self, op: Invoke) -> None:
        """List the user's threads."""
        ...

    async def intrude(self, op: Invoke) -> bool:
        """Try every way to `op.thread` of `op.owner`. Raises `TargetError` (`admitted`) where one was open. Returns
        whether a reply is still to come, which has to be a refusal."""
        ...

    async def trespass(self, op: Invoke) -> None:
        """Try to get in with what `op.text` says, a `Credential`. Raises `TargetError` (`admitted`)
        where that was let in."""
        ...

    def drop(self) -> None:
        """Vanish without a goodbye, as a phone in a tunnel does. Harmless when not connected."""
        ...

    def pause(self, *, reading: bool) -> None:
        """Stop taking what the connection brings (False), or go on (True)."""
        ...

    async def close(self) -> None:
        """Say goodbye. Harmless when repeated."""
        ...


class Target(Protocol):
    """A system under test, as one worker process reaches it."""

    abilities: frozenset[Ability]
    format: str
    format_options: Mapping[str, Any]

    @property
    def tokens(self) -> Mapping[int, str]:
        """Of the users who are logged in, by number; empty where there are none."""
        ...

    async def open(self) -> None:
        """See whether it is there. Raises `TargetError` (`unreachable`, `refused`, `timeout` ...) saying why not."""
        ...

    def client(self, user: int, viewer: int, sink: Sink) -> Client:
        """A viewer of a user, not connected yet. Belongs to the running event loop."""
        ...

    async def close(self) -> None:
        """Let go of what all clients share."""
        ...
