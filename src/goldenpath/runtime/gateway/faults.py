"""What a client is told of an exception: refusals as they are, faults of ours as errors without a traceback."""

from __future__ import annotations

import structlog

from goldenpath.runtime.interfaces import StoreError, StoreRefusedError, StoreTimedOutError
from goldenpath.runtime.thread_log import LogDeletedError
from goldenpath.wire.errors import ErrorName, RequestError
from goldenpath.wire.ids import RequestId, new_id

_logger = structlog.get_logger("goldenpath.gateway")


def told(error: Exception, event: str, request_id: RequestId | None = None, **context: str) -> RequestError:
    """The error that is answered. A fault is logged as `event` with `context`, under an id that its answer names."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, LogDeletedError):
        return RequestError("not_found", "there is no such thread")
    if isinstance(error, StoreTimedOutError):
        return RequestError("timeout", str(error), retry_after=2.0)
    if isinstance(error, StoreRefusedError):  # what it fails by was told when it failed
        return RequestError("overloaded", "the store failed", retry_after=error.retry_after)
    request_id = request_id or RequestId(new_id("req"))
    if isinstance(error, StoreError):
        _logger.error(event, request_id=request_id, error=str(error), **context)
        return RequestError("overloaded", "the store failed", retry_after=2.0)
    _logger.error(event, request_id=request_id, exc_info=error, **context)
    return RequestError("internal", f"request {request_id} failed")


def counted(error: Exception) -> ErrorName:
    """The code by which a failed attempt counts among the signals: a limit that refuses and a store that fails are both
    told as `overloaded`, but only one of them is our fault."""
    if isinstance(error, RequestError):
        return error.code
    return "timeout" if isinstance(error, StoreTimedOutError) else "internal"
