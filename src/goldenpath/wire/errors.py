"""The registry of errors and close codes. The reference page docs/protocol.md is generated from it.

An error has a *code*, which is what a program may rely on, and a message for people. `retryable` says whether the same
call may succeed later; `definite` says that the call certainly had no effect.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

ErrorName = Literal[
    "bad_frame",
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "unknown_agent",
    "thread_busy",
    "conflict",
    "payload_too_large",
    "rate_limited",
    "quota_exceeded",
    "agent_error",
    "internal",
    "queue_full",
    "overloaded",
    "draining",
    "upstream_unavailable",
    "not_configured",
    "timeout",
    "cancelled",
    "run_interrupted",
]


class ErrorCode(msgspec.Struct, frozen=True):
    """One row of the registry."""

    name: ErrorName
    status: int
    """The HTTP status of an answer with this code; for codes that only appear in events, the nearest one."""
    title: str
    retryable: bool
    definite: bool
    meaning: str


_rows = (
    ErrorCode("bad_frame", 400, "Bad frame", False, True, "A WebSocket line that is no command: not JSON, no valid id, unknown op, or binary."),
    ErrorCode("bad_request", 400, "Bad request", False, True, "A known call with missing, unknown or wrong fields."),
    ErrorCode("unauthorized", 401, "Unauthorized", False, True, "No valid access token, or a wrong e-mail and password."),
    ErrorCode("forbidden", 403, "Forbidden", False, True, "The principal may not do this."),
    ErrorCode("not_found", 404, "Not found", False, True, "It does not exist, or it belongs to somebody else."),
    ErrorCode("unknown_agent", 404, "Unknown agent", False, True, "No agent of this name that this user may run."),
    ErrorCode("thread_busy", 409, "Thread busy", True, True, "The thread has a run, and the command asked not to wait."),
    ErrorCode("conflict", 409, "Conflict", False, True, "It exists already."),
    ErrorCode("payload_too_large", 413, "Payload too large", False, True, "A body, an event or a history over its limit."),
    ErrorCode("rate_limited", 429, "Rate limited", True, True, "Too many calls; wait for retry_after seconds."),
    ErrorCode("quota_exceeded", 429, "Quota exceeded", True, True, "The user's own places are taken; wait until one of the user's runs ends."),
    ErrorCode("agent_error", 500, "Agent error", True, False, "The agent's code raised."),
    ErrorCode("internal", 500, "Internal error", True, False, "A fault of the server. The request id finds it in the log."),
    ErrorCode("queue_full", 503, "Queue full", True, True, "The waiting room of the whole server is full."),
    ErrorCode("overloaded", 503, "Overloaded", True, True, "The server refuses work to stay responsive."),
    ErrorCode("draining", 503, "Draining", True, True, "The server is shutting down; another one, or this one soon, will answer."),
    ErrorCode("upstream_unavailable", 503, "Upstream unavailable", True, True, "Something the agent depends on is down."),
    ErrorCode("not_configured", 503, "Not configured", False, True, "The server's operator has not set up what this call needs."),
    ErrorCode("timeout", 504, "Timeout", True, False, "A time limit passed."),
    ErrorCode("cancelled", 409, "Cancelled", True, False, "The run was cancelled (in events for AG-UI 0.x clients)."),
    ErrorCode("run_interrupted", 503, "Run interrupted", True, False, "The process ended while the run was active; safe to retry."),
)  # fmt: skip

ERRORS: Final[dict[str, ErrorCode]] = {row.name: row for row in _rows}


class CloseCode(msgspec.Struct, frozen=True):
    """One row of the registry of WebSocket close codes."""

    code: int
    name: str
    reconnect: bool
    meaning: str


NORMAL: Final = 1000
GOING_AWAY: Final = 1001
TOO_BIG: Final = 1009
PROTOCOL_MISUSE: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
REPLACED: Final = 4409
TOO_MANY_CONNECTIONS: Final = 4429
INTERNAL: Final = 4500
OVERLOADED: Final = 4503
TOO_SLOW: Final = 4508

CLOSE_CODES: Final[dict[int, CloseCode]] = {
    row.code: row
    for row in (
        CloseCode(NORMAL, "normal", False, "The client said good-bye."),
        CloseCode(GOING_AWAY, "going away", True, "The server drains. Reconnect now, with the cursor."),
        CloseCode(TOO_BIG, "too big", False, "A message over max_message_bytes."),
        CloseCode(PROTOCOL_MISUSE, "protocol misuse", False, "Ten bad frames in a row."),
        CloseCode(UNAUTHORIZED, "unauthorized", False, "The token expired or the session was ended."),
        CloseCode(FORBIDDEN, "forbidden", False, "The principal may not stay connected."),
        CloseCode(REPLACED, "replaced", False, "Only where one session per user is enforced."),
        CloseCode(TOO_MANY_CONNECTIONS, "too many connections", False, "The user's connections are all taken."),
        CloseCode(INTERNAL, "internal", True, "A fault of the server."),
        CloseCode(OVERLOADED, "overloaded", True, "The server sheds connections to stay responsive."),
        CloseCode(
            TOO_SLOW, "too slow", True, "Nothing could be written for a minute, or the log moved past the cursor."
        ),
    )
}


class GoldenpathError(Exception):
    """The root of every exception that Goldenpath raises on purpose."""


class RequestError(GoldenpathError):
    """A request that is refused or failed, with what the client is told.

    `code` names a row of `ERRORS`. `message` is shown to the client: never put another user's data or a traceback
    into it. `retry_after` is in seconds, None where waiting does not help. The client raises the same class.
    """

    def __init__(self, code: ErrorName, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def row(self) -> ErrorCode:
        """The registry's row of this error's code."""
        return ERRORS[self.code]


class ErrorBody(msgspec.Struct, frozen=True):
    """An error as a WebSocket reply carries it."""

    code: str
    message: str
    retryable: bool
    definite: bool
    retry_after: float | None = None

    @classmethod
    def of(cls, error: RequestError) -> ErrorBody:
        row = error.row
        return cls(error.code, error.message, row.retryable, row.definite, error.retry_after)

    def error(self) -> RequestError:
        """The error that this body tells of, for a client to raise."""
        return _told(self.code, self.message, self.retry_after)


class Problem(msgspec.Struct, frozen=True):
    """An error as an HTTP answer carries it (RFC 9457, `application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after: float | None = None

    @classmethod
    def of(cls, error: RequestError, *, status: int | None = None) -> Problem:
        row = error.row
        return cls(
            type=f"urn:goldenpath:error:{error.code}",
            title=row.title,
            status=row.status if status is None else status,
            detail=error.message,
            code=error.code,
            retryable=row.retryable,
            retry_after=error.retry_after,
        )

    def error(self) -> RequestError:
        """The error that this document tells of, for a client to raise."""
        return _told(self.code, self.detail, self.retry_after)


def _told(code: str, message: str, retry_after: float | None) -> RequestError:
    if code in ERRORS:
        return RequestError(ERRORS[code].name, message, retry_after=retry_after)
    # A newer server may know more codes; of those nothing can be promised.
    return RequestError("internal", f"{code}: {message}", retry_after=retry_after)
