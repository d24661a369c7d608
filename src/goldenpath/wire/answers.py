"""What the HTTP calls take and answer, beside AG-UI's own shapes. Times are RFC 3339 UTC; an absent value is null."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from goldenpath.wire.messages import ResumeEntry


def _described(**schema: Any) -> msgspec.Meta:
    """What the OpenAPI document says of a field. The call itself checks it, and knows which error a wrong one is."""
    return msgspec.Meta(extra_json_schema=schema)


_Email = Annotated[str, _described(format="email", maxLength=254)]
_Printable = Annotated[str, _described(pattern="^[!-~]{1,128}$")]


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """`password` has 8 to 1,024 bytes."""

    email: _Email
    password: Annotated[str, _described(minLength=2, maxLength=1024)]  # JSON Schema counts characters, not bytes


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: str


class SimulateRequest(msgspec.Struct, forbid_unknown_fields=True):
    email: _Email
    permissions: list[_Printable] | None = None
    tier: _Printable | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What register, login, refresh and simulate answer. `expires_in` is the access token's life in seconds, counted
    from its issue."""

    user_id: str
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: float


class Me(msgspec.Struct, frozen=True):
    """What a user may know of themselves."""

    user_id: str
    email: str | None
    permissions: list[str]
    tier: str


class AgentInfo(msgspec.Struct):
    name: str
    description: str


class Agents(msgspec.Struct):
    agents: list[AgentInfo]


class ThreadSummary(msgspec.Struct):
    thread_id: str
    created_at: str
    updated_at: str
    head: int


class Threads(msgspec.Struct):
    threads: list[ThreadSummary]
    next_cursor: str | None


class RunSummary(msgspec.Struct):
    run_id: str
    status: str


class ThreadInfo(msgspec.Struct):
    thread_id: str
    created_at: str
    updated_at: str
    epoch: str
    head: int
    runs: list[RunSummary]


class Messages(msgspec.Struct):
    """`messages` are AG-UI messages, complete up to event `seq`."""

    thread_id: str
    epoch: str
    seq: int
    messages: list[msgspec.Raw]


class RunEnd(msgspec.Struct):
    """How one run ended: its terminal event and that event's `seq`.

    `after`: the ids of the messages and tool calls that began last before it, the last first. `resume`: what the run
    answered, null where it answered nothing or that is not held any more. `answers`: where the run asked, or left tool
    calls to the client, what the next run brought for it (by interrupt or tool call); null while none has begun.
    """

    run_id: str
    seq: int
    event: msgspec.Raw
    after: list[str]
    resume: list[ResumeEntry] | None
    answers: list[ResumeEntry] | None


class Ends(msgspec.Struct):
    """`ends` are those of the runs that did not just finish, in the order of the log. `complete`: whether none is left
    out; false where the oldest are, because they are too many, too large or not held any more.
    """

    thread_id: str
    epoch: str
    ends: list[RunEnd]
    complete: bool


class RunInfo(msgspec.Struct):
    run_id: str
    thread_id: str
    agent: str
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
