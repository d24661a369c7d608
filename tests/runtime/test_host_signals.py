"""The stop signals of a host: heard beside its own handler, which is put back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from goldenpath.runtime.host_signals import STOP_SIGNALS, at_stop_signals


@pytest.fixture(params=STOP_SIGNALS, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    found: signal.Signals = request.param
    before = signal.getsignal(found)
    yield found
    signal.signal(found, before)


async def test_both_are_told_and_the_host_s_handler_is_put_back(number: signal.Signals) -> None:
    told: list[int] = []
    stopping = asyncio.Event()

    def theirs(given: int, _: object) -> None:
        told.append(given)

    signal.signal(number, theirs)
    with at_stop_signals(stopping.set):
        signal.raise_signal(number)
        async with asyncio.timeout(10):
            await stopping.wait()
    assert told == [number]
    assert signal.getsignal(number) is theirs


async def test_a_handler_that_the_loop_has_is_told_too(number: signal.Signals) -> None:
    theirs, ours = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, theirs.set)
    with at_stop_signals(ours.set):
        signal.raise_signal(number)
        async with asyncio.timeout(10):
            await theirs.wait()
            await ours.wait()
    loop.remove_signal_handler(number)


async def test_where_the_host_handles_none_nothing_changes(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    with at_stop_signals(lambda: None):
        assert signal.getsignal(number) is signal.SIG_DFL


async def test_a_handler_that_the_host_sets_later_stays(number: signal.Signals) -> None:
    signal.signal(number, signal.default_int_handler)

    def later(*_: object) -> None: ...

    with at_stop_signals(lambda: None):
        signal.signal(number, later)
    assert signal.getsignal(number) is later


async def test_outside_of_the_main_thread_there_are_no_signals() -> None:
    async def serve() -> None:
        with at_stop_signals(lambda: None):
            pass

    await asyncio.to_thread(asyncio.run, serve())
