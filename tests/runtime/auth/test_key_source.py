from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from goldenpath.clock import ManualClock
from goldenpath.runtime.auth.key_source import COOLDOWN, MAX_AGE, FetchError, KeySource
from goldenpath.wire.errors import RequestError
from tests.runtime.auth.key_server import SigningKey


class Provider:
    """Answers fetches with `keys`, or not while it is down, or only once `open` is set."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.up = True
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, url: str) -> bytes:
        assert url == "https://id.example/keys"
        self.fetches += 1
        await self.open.wait()
        if not self.up:
            raise FetchError("HTTP status 503")
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()


def source(provider: Provider, clock: ManualClock) -> KeySource:
    return KeySource("https://id.example/keys", ("RS256",), provider.fetch, clock)


async def find(keys: KeySource, kid: str) -> Any:
    return await keys.find(kid, "RS256")


async def test_nothing_is_fetched_before_the_first_token_and_then_once(clock: ManualClock, rsa_key: SigningKey) -> None:
    provider = Provider(rsa_key)
    keys = source(provider, clock)
    assert provider.fetches == 0
    for _ in range(3):
        assert await find(keys, "rsa-1") is not None
    assert provider.fetches == 1


async def test_callers_that_come_together_share_one_fetch(clock: ManualClock, rsa_key: SigningKey) -> None:
    provider = Provider(rsa_key)
    provider.open.clear()
    keys = source(provider, clock)
    callers = [asyncio.ensure_future(find(keys, "rsa-1")) for _ in range(50)]
    await asyncio.sleep(0)
    callers[0].cancel()
    provider.open.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(not isinstance(key, BaseException) and key is not None for key in found[1:])
    assert provider.fetches == 1


async def test_a_slow_fetch_is_waited_for_and_not_doubled(clock: ManualClock, rsa_key: SigningKey) -> None:
    provider = Provider(rsa_key)
    provider.open.clear()
    keys = source(provider, clock)
    first = asyncio.ensure_future(find(keys, "rsa-1"))
    await asyncio.sleep(0)
    clock.advance(COOLDOWN + 1)
    second = asyncio.ensure_future(find(keys, "rsa-1"))
    await asyncio.sleep(0)
    provider.open.set()
    assert await first is await second is not None
    assert provider.fetches == 1


async def test_an_unknown_key_id_is_fetched_at_once_but_not_again_and_again(
    clock: ManualClock, rsa_key: SigningKey, other_rsa_key: SigningKey
) -> None:
    provider = Provider(rsa_key)
    keys = source(provider, clock)
    assert await find(keys, "rsa-1") is not None
    clock.advance(COOLDOWN)
    provider.keys.append(other_rsa_key)
    assert await find(keys, "rsa-2") is not None
    assert provider.fetches == 2
    for number in range(100):
        assert await find(keys, f"made-up-{number}") is None
    assert provider.fetches == 2
    clock.advance(COOLDOWN)
    assert await find(keys, "made-up") is None
    assert provider.fetches == 3


async def test_old_keys_serve_while_new_ones_are_fetched(
    clock: ManualClock, rsa_key: SigningKey, other_rsa_key: SigningKey
) -> None:
    provider = Provider(rsa_key)
    keys = source(provider, clock)
    await find(keys, "rsa-1")
    clock.advance(MAX_AGE + 1)
    provider.keys = [other_rsa_key]
    provider.open.clear()
    assert await find(keys, "rsa-1") is not None
    await asyncio.sleep(0)
    assert provider.fetches == 2
    provider.open.set()
    assert await find(keys, "rsa-2") is not None
    assert await find(keys, "rsa-1") is None
    assert provider.fetches == 2


async def test_keys_outlive_an_outage(clock: ManualClock, rsa_key: SigningKey) -> None:
    provider = Provider(rsa_key)
    keys = source(provider, clock)
    await find(keys, "rsa-1")
    provider.up = False
    with capture_logs() as logs:
        for _ in range(10):
            clock.advance(MAX_AGE)
            assert await find(keys, "rsa-1") is not None
            await keys._landed()
    assert provider.fetches > 5
    assert all((entry["event"], entry["why"]) == ("keys_not_fetched", "HTTP status 503") for entry in logs)
    assert len(logs) > 5


async def test_during_an_outage_an_unknown_key_is_a_reason_to_come_back(
    clock: ManualClock, rsa_key: SigningKey
) -> None:
    provider = Provider(rsa_key)
    provider.up = False
    keys = source(provider, clock)
    for _ in range(3):
        with pytest.raises(RequestError) as caught:
            await find(keys, "rsa-1")
        assert caught.value.code == "upstream_unavailable"
        assert caught.value.retry_after == COOLDOWN
    assert provider.fetches == 1
    provider.up = True
    clock.advance(COOLDOWN)
    assert await find(keys, "rsa-1") is not None


async def test_a_document_without_keys_does_not_replace_the_ones_there_are(
    clock: ManualClock, rsa_key: SigningKey
) -> None:
    provider = Provider(rsa_key)
    keys = source(provider, clock)
    await find(keys, "rsa-1")
    provider.keys = []
    clock.advance(MAX_AGE + 1)
    await find(keys, "rsa-1")
    await keys._landed()
    assert provider.fetches == 2
    assert await find(keys, "rsa-1") is not None


async def test_closing_abandons_the_fetch(clock: ManualClock, rsa_key: SigningKey) -> None:
    provider = Provider(rsa_key)
    provider.open.clear()
    keys = source(provider, clock)
    caller = asyncio.ensure_future(find(keys, "rsa-1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.close()
    with pytest.raises(RequestError) as caught:
        await caller
    assert caught.value.code == "upstream_unavailable"
    await keys.close()
