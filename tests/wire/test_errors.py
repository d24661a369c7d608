from __future__ import annotations

from typing import get_args

import pytest

from goldenpath.wire.errors import (
    CLOSE_CODES,
    ERRORS,
    ErrorBody,
    ErrorName,
    GoldenpathError,
    Problem,
    RequestError,
)

# docs/protocol.md's table.
STATUS = {
    400: {"bad_frame", "bad_request"},
    401: {"unauthorized"},
    403: {"forbidden"},
    404: {"not_found", "unknown_agent"},
    409: {"thread_busy", "conflict", "cancelled"},
    413: {"payload_too_large"},
    429: {"rate_limited", "quota_exceeded"},
    500: {"agent_error", "internal"},
    503: {"queue_full", "overloaded", "draining", "upstream_unavailable", "not_configured", "run_interrupted"},
    504: {"timeout"},
}


def test_every_code_has_a_row_with_the_status_of_the_protocol() -> None:
    assert set(get_args(ErrorName)) == set(ERRORS)
    assert {name: row.status for name, row in ERRORS.items()} == {
        name: status for status, names in STATUS.items() for name in names
    }


def test_the_callers_own_mistakes_are_not_retryable_and_had_no_effect() -> None:
    for row in ERRORS.values():
        if row.status in (400, 401, 403, 404, 413):
            assert (row.retryable, row.definite) == (False, True), row.name


@pytest.mark.parametrize("code", get_args(ErrorName))
def test_a_client_reads_the_error_that_the_server_meant(code: ErrorName) -> None:
    error = RequestError(code, "why", retry_after=1.5)
    for told in (ErrorBody.of(error).error(), Problem.of(error).error()):
        assert (told.code, told.message, told.retry_after) == (code, "why", 1.5)
    assert str(error) == f"{code}: why"
    assert Problem.of(error).status == ERRORS[code].status


def test_a_code_that_a_newer_server_may_send_promises_nothing() -> None:
    told = ErrorBody("from_the_future", "hm", retryable=False, definite=True).error()
    assert (told.code, told.message) == ("internal", "from_the_future: hm")
    assert not told.row.definite


def test_the_range_of_a_close_code_says_whether_to_reconnect() -> None:
    for code, row in CLOSE_CODES.items():
        assert code == row.code
        assert row.reconnect == (code == 1001 or 4500 <= code < 4600)


def test_everything_raised_on_purpose_has_one_root() -> None:
    assert issubclass(RequestError, GoldenpathError)
