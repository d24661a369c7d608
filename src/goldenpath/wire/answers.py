"""What the HTTP calls take and answer, beside AG-UI's own shapes. Times are RFC 3339 UTC; an absent value is null."""

from __future__ import annotations

import msgspec


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    email: str
    password: str


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: str


class SimulateRequest(msgspec.Struct, forbid_unknown_fields=True):
    email: str
    permissions: list[str] | None = None
    tier: str | None = None


class AgentInfo(msgspec.Struct):
    name: str
    description: str


class Agents(msgspec.Struct):
    agents: list[AgentInfo]


class ThreadInfo(msgspec.Struct):
    thread_id: str
    created_at: str
    updated_at: str
    head: int


class Threads(msgspec.Struct):
    threads: list[ThreadInfo]
    next_cursor: str | None


class RunSummary(msgspec.Struct):
    run_id: str
    status: str


class Thread(msgspec.Struct):
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


class RunInfo(msgspec.Struct):
    run_id: str
    thread_id: str
    agent: str
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
