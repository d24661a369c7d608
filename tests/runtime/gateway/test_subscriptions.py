"""A connection answers for the threads that it follows, and for no other."""

from __future__ import annotations

import pytest

from goldenpath.runtime.auth.accounts import Accounts
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.subscriptions import Subscriptions
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from tests.runtime.gateway.test_connection import Wire
from tests.runtime.runs import Runs, turns, until
from tests.runtime.stagehand import Stagehand


def gateway(runs: Runs) -> Gateway:
    return Gateway(
        dispatcher=runs.dispatcher,
        scheduler=runs.scheduler,
        recovery=runs.recovery,
        event_log=runs.event_log,
        commits=runs.event_log.commits,
        accounts=Accounts(runs.settings, MemoryAccounts(), runs.clock, b"s" * 32),
        turns=runs.turns,
        clock=runs.clock,
        settings=runs.settings,
        flags=runs.flags,
        signals=runs.signals,
        deadlines=runs.deadlines,
    )


@pytest.mark.parametrize(("leaves", "failed"), [(True, []), (False, [4500])])
async def test_a_read_that_fails_ends_a_connection_that_waits_for_it_and_no_other(
    leaves: bool,
    failed: list[int],
) -> None:
    async with Runs(segment_bytes=1).running() as runs:
        Stagehand(runs)
        accepted = await runs.start("quick")
        await runs.over(accepted)
        codes: list[int] = []
        subscriptions = Subscriptions(
            gateway(runs),
            Wire(),
            accepted.log.key.user_id,
            fail=lambda code, _: codes.append(code),
            deleted=lambda _: None,
        )
        gate = runs.store.hold_read("segments", before=True)
        async with runs.event_log.open(accepted.log.key) as log:
            assert log is not None
            subscriptions.subscribe(log, 0)
        await until(lambda: "segments" in runs.store.reads[-1:])
        if leaves:
            subscriptions.detach("t1")
        runs.store.reads_fail = True
        gate.set()
        await turns()
        assert codes == failed
        runs.store.reads_fail = False
        subscriptions.close()
