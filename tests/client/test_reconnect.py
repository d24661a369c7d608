from __future__ import annotations

from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.client.reconnect import Backoff, after_close, after_refusal
from goldenpath.wire.errors import CLOSE_CODES, ERRORS, ErrorName, RequestError


@given(st.integers(0, 10_000), st.integers(), st.none() | st.floats(0, 100))
def test_a_delay_lies_between_what_the_server_asked_and_the_cap(attempt: int, seed: int, wait: float | None) -> None:
    backoff = Backoff(base=0.5, cap=8)
    delay = backoff.delay(attempt, Random(seed), wait)
    assert (wait or 0) <= delay <= (wait or 0) + min(8, 0.5 * 2 ** min(attempt, 62))


def test_the_longest_delay_doubles_and_the_jitter_is_full() -> None:
    random = Random(1)
    for attempt, longest in enumerate([1, 2, 4, 8, 8, 8]):
        delays = [Backoff(base=1, cap=8).delay(attempt, random) for _ in range(2000)]
        assert 0.95 * longest < max(delays) <= longest
        assert min(delays) < 0.05 * longest


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_our_close_codes_follow_the_registry(code: int) -> None:
    expected = "refresh" if code == 4401 else "again" if CLOSE_CODES[code].reconnect else "stop"
    assert after_close(code) == expected


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (1006, "again"),
        (1005, "again"),
        (1011, "again"),
        (1012, "again"),
        (1002, "stop"),
        (4450, "stop"),
        (4599, "again"),
    ],
)
def test_unknown_codes_follow_their_range(code: int, advice: str) -> None:
    assert after_close(code) == advice


@pytest.mark.parametrize("code", get_args(ErrorName))
def test_a_refused_upgrade_is_tried_again_where_the_error_is_retryable(code: ErrorName) -> None:
    expected = "refresh" if code == "unauthorized" else "again" if ERRORS[code].retryable else "stop"
    assert after_refusal(RequestError(code, "")) == expected
