"""What a history consists of: what users did, what came of it, and every byte that the target sent them.

Times are seconds of the machine's monotonic clock (`time.perf_counter`), the same in all of its processes. A record is
written as a small MessagePack array that names its kind first.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from goldenpath.lab.level import Level

Kind = Literal["login", "refresh", "connect", "ask", "attach", "cancel", "history", "threads", "intrude", "trespass"]
"""What a user can do. `ask` starts a run and lasts until its end. `intrude` asks for what belongs to somebody else,
`trespass` for anything without a token that holds; both are ok when they were refused."""

Outcome = Literal["ok", "fail", "info"]
"""ok: it had its effect. fail: it certainly had none. info: unknown, it may have had one or may have one yet."""


class Invoke(msgspec.Struct, frozen=True, array_like=True, tag="invoke", gc=False):
    """A user begins an operation at `at`; by the plan it should have begun at `intended`, from where its latency
    counts."""

    at: float
    op: int
    """Its number, unique in the history."""
    user: int
    kind: Kind
    intended: float
    connection: int = 0
    """The connection that it goes over; 0: one of its own, or that of the `Sent` that follows."""
    thread: str = ""
    run: str = ""
    text: str = ""
    """What is asked, with the canary of this operation in it. For `trespass`: what the user comes with, e.g. `no
    token`."""
    answer: str | None = None
    """The answer that a right target gives to it, whole; None where that is not known."""
    epoch: str = ""
    after: int | None = None
    """For `attach`: the seq of the last event that the user has seen, in `epoch`; None: from now on."""
    owner: int | None = None
    """For `intrude`: whose it is."""


class Sent(msgspec.Struct, frozen=True, array_like=True, tag="sent", gc=False):
    """An `ask` that had to wait for its turn, or for its user to come back, is sent at `at`: it is this connection that
    it goes over, and not that of its `Invoke`. It may be sent again over another one."""

    at: float
    op: int
    connection: int


class Complete(msgspec.Struct, frozen=True, array_like=True, tag="complete", gc=False):
    """An operation's outcome is known at `at`. Follows its `Invoke`, once."""

    at: float
    op: int
    outcome: Outcome
    code: str = ""
    """Why it is not ok, in a word: the target's error code, or one of `goldenpath.lab.target.CODES`."""
    detail: str = ""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="opened", gc=False):
    """A connection (a WebSocket, or one stream of an HTTP answer) is open."""

    at: float
    user: int
    connection: int
    viewer: int = 0
    """Which of the user's viewers it serves: a tab, say, that goes on over a new connection when it loses one. Less
    than 0: one that is gone with its connection."""
    op: int = 0
    """The operation whose answer it is and nothing else; 0: it serves many."""


class Received(msgspec.Struct, frozen=True, array_like=True, tag="received", gc=False):
    """One WebSocket message, or one piece of a streamed HTTP answer, exactly as it came."""

    at: float
    user: int
    connection: int
    payload: bytes


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed", gc=False):
    """A connection is no more. `ours`: the user ended it, or a fault that was injected did."""

    at: float
    user: int
    connection: int
    ours: bool
    code: int = 0
    """The WebSocket close code; 0: none came. `ours` with one of `REFUSED`: what came could not be taken."""


TOO_BIG: Final = 1009
REFUSED: Final = frozenset((1002, TOO_BIG))
"""Close codes (RFC 6455) with which users of the lab end a connection: what came breaks the protocol, or is too
large."""


class Answered(msgspec.Struct, frozen=True, array_like=True, tag="answered", gc=False):
    """The whole answer to an operation over plain HTTP."""

    at: float
    user: int
    op: int
    status: int
    body: bytes


class Overheard(msgspec.Struct, frozen=True, array_like=True, tag="overheard", gc=False):
    """What came besides messages and answers, in which there is a canary of somebody else's: a header, the payload of a
    ping, why a connection was closed. Anything else of that kind is not kept."""

    at: float
    user: int
    place: str
    """Where, in words."""
    payload: bytes


class Injected(msgspec.Struct, frozen=True, array_like=True, tag="injected", gc=False):
    """A fault begins (`on`) or ends."""

    at: float
    fault: str
    """What it is, as it was asked for, e.g. `kill@10`."""
    on: bool


class Sampled(msgspec.Struct, frozen=True, array_like=True, tag="sampled"):
    """What the monitor read: named figures of the target or of the generator."""

    at: float
    source: str
    """`target`, or `worker` and its number."""
    figures: dict[str, float]


NoteKind = Literal[
    "sealed",
    "begun",
    "ended",
    "flood_begun",
    "flood_ended",
    "interrupted",
    "aborted",
    "target_lost",
    "crashed",
    "not_injected",
]
"""sealed: the manifest was written, and the text is its digest: another manifest than the last that was sealed is not
what this run was. begun: the load begins. ended: the last iteration has ended. flood_begun, flood_ended: one user,
whose number is the text, floods the target from then to then. interrupted: by whoever started it. aborted: by an
isolation breach. target_lost: there is no target any more. crashed: a fault of the lab's own. not_injected: a fault
that was asked for did not happen, because the load was over before. After any of the last five the run was not what it
should have been: whatever it did not see is unknown."""


class Noted(msgspec.Struct, frozen=True, array_like=True, tag="noted", gc=False):
    """Something about the run itself, e.g. that it was interrupted."""

    at: float
    kind: NoteKind
    text: str = ""


class Last(msgspec.Struct, frozen=True, array_like=True, tag="last", gc=False):
    """The end of a file of the history: so many records stand before it. What has none, or another number, was cut."""

    at: float
    records: int
    run: str = ""
    """The nonce of the run that wrote it: a file of another run says nothing of this one."""


Record = (
    Invoke | Sent | Complete | Opened | Received | Closed | Answered | Overheard | Injected | Sampled | Noted | Last
)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored run is: enough to read its history and judge it again, and to run it once more."""

    version: str
    """Of goldenpath."""
    scenario: str
    users: int
    changes: str = ""
    """How the scenario was changed from that of the catalogue, for people; empty: it was not."""
    label: str = ""
    """What whoever ran it calls the run."""
    together: tuple[str, ...] = ()
    """All scenarios that were to be run by the same command, in order, this one too."""
    seed: int
    nonce: str
    """What makes the canaries of this run its own."""
    format: str
    """How to read what the target sent: a name in `goldenpath.lab.formats`."""
    format_options: dict[str, Any] = {}
    workers: int = 1
    started_at: float = 0.0
    """Unix time."""
    zero: float = 0.0
    """The monotonic time at which the load began; everything before is preparation."""
    command: str = ""
    """The command line that runs it again."""
    target: str = ""
    """What was tested, for people."""
    watched: bool = False
    """Whether the target's processes are watched, so that levels of what they use apply."""
    machine: str = ""
    """Where it ran, for people."""
    cores: int = 1
    """How many the machine has: `cpu_percent` is of all of them."""
    levels: tuple[Level, ...] | None = None
    """The service levels that it is held to; None: the default ones."""
