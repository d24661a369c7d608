"""Who asks, and for what: the principal of a connection and the context of one run.

A `UserExecutionContext` is created for each run, frozen, and never shared: whatever a run may know about its user is in
it, and nothing about any other. Both validate what they are given, so that an empty or placeholder identity cannot
enter the system.
"""

from __future__ import annotations

from typing import Final

import msgspec

from goldenpath.wire.errors import GoldenpathError, RequestError
from goldenpath.wire.ids import RequestId, RunId, SessionId, ThreadId, UserId, is_name

PLACEHOLDERS: Final = frozenset(
    {
        "",
        "none",
        "null",
        "undefined",
        "nan",
        "unknown",
        "placeholder",
        "default",
        "anonymous",
        "todo",
        "user_id",
        "string",
    }
)
"""Values that stand for "nobody filled this in"; compared without regard to case."""


class InvalidContext(GoldenpathError, ValueError):
    """An identity that is empty, a placeholder or out of form. `field` names it; the value is not repeated."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field


def _refuse_placeholder(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidContext(field, "must be a string")
    if value.strip().lower() in PLACEHOLDERS:
        raise InvalidContext(field, "is empty or a placeholder")
    if len(value) > 256 or not value.isprintable():
        raise InvalidContext(field, "must be up to 256 printable characters")


class Principal(msgspec.Struct, frozen=True, gc=False):
    """An authenticated user, as one access token describes them.

    `expires_at` is in Unix seconds. `token_id` names the token itself. Frozen, so it may be shared by everything that
    acts for this token. Raises `InvalidContext` for an empty or placeholder user or session id.
    """

    user_id: UserId
    session_id: SessionId
    expires_at: float
    permissions: frozenset[str] = frozenset()
    tier: str = "free"
    email: str | None = None

    def __post_init__(self) -> None:
        _refuse_placeholder("user_id", self.user_id)
        _refuse_placeholder("session_id", self.session_id)

    def may(self, permission: str) -> bool:
        """Whether the principal holds `permission`."""
        return permission in self.permissions


def check_permission(principal: Principal, permission: str) -> None:
    """Raise `RequestError` (`forbidden`) where `principal` does not hold `permission`."""
    if not principal.may(permission):
        raise RequestError("forbidden", f"this needs the permission {permission!r}")


class UserExecutionContext(msgspec.Struct, frozen=True, gc=False):
    """Everything one run may know about whom it works for.

    `deadline` is on the clock's monotonic time line in seconds: nothing the run starts may outlive it. `created_at` is
    in Unix seconds. Raises `InvalidContext` when an id is empty, a placeholder or malformed, or a time is not above 0.
    Frozen; creating one is safe from any thread.
    """

    principal: Principal
    thread_id: ThreadId
    run_id: RunId
    request_id: RequestId
    deadline: float
    created_at: float

    def __post_init__(self) -> None:
        if not isinstance(self.principal, Principal):
            raise InvalidContext("principal", "must be a Principal")
        # Clients choose thread and run ids, and may call a thread "default": the protocol's pattern is the whole rule.
        if not isinstance(self.thread_id, str) or not is_name(self.thread_id):
            raise InvalidContext("thread_id", "is not a valid id")
        if not isinstance(self.run_id, str) or not is_name(self.run_id):
            raise InvalidContext("run_id", "is not a valid id")
        _refuse_placeholder("request_id", self.request_id)
        if not self.deadline > 0 or not self.created_at > 0:
            raise InvalidContext("deadline", "deadline and created_at must be positive")

    @property
    def user_id(self) -> UserId:
        """The owner of the thread and of everything the run produces."""
        return self.principal.user_id
