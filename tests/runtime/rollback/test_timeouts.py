"""Which time-outs the flags put in force."""

from __future__ import annotations

from typing import get_args

import pytest

from goldenpath.runtime.flags.definition import BUILTIN, LEGACY_TIMEOUTS, NO_OPTIMIZATIONS, ROLLED_BACK, TIMEOUTS
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.flags.rule import Rule
from goldenpath.runtime.rollback.timeouts import obey
from goldenpath.runtime.settings import LEGACY, Environment, Settings
from goldenpath.runtime.timeouts import LEVELS, CurrentTimeouts

ENVIRONMENTS = get_args(Environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rolled_back_they_are_those_of_the_cloud_in_every_environment(environment: Environment) -> None:
    configured = Settings(environment=environment, run_timeout=1234.0).timeouts
    flags, current = Flags(BUILTIN, environment), CurrentTimeouts(configured)
    flags.on_change(lambda changed: obey(changed, current))
    flags.put(TIMEOUTS, Rule(variant=ROLLED_BACK))
    assert (current.now.factory, current.now.websocket_recv, current.now.agent_execution) == (30.0, 35.0, 30.0)
    assert (current.now.run, current.now.check()) == (1234.0, True)
    flags.put(TIMEOUTS, None)
    assert current.now == configured


@pytest.mark.parametrize("switch", [NO_OPTIMIZATIONS, LEGACY_TIMEOUTS])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_with_a_kill_switch_on_none_is_shorter_than_in_the_cloud(environment: Environment, switch: str) -> None:
    configured = Settings(
        environment=environment, factory_timeout=3.0, websocket_recv_timeout=100.0, agent_execution_timeout=90.0
    ).timeouts
    flags, current = Flags(BUILTIN, environment), CurrentTimeouts(configured)
    flags.on_change(lambda changed: obey(changed, current))
    flags.put(switch, Rule())
    assert all(current.now.of(level) >= LEGACY.of(level) for level in LEVELS)
    assert (current.now.factory, current.now.websocket_recv, current.now.agent_execution) == (30.0, 100.0, 90.0)
    flags.put(switch, None)
    assert current.now == configured


def test_a_kill_switch_for_some_users_alone_is_off_for_what_concerns_all() -> None:
    flags, current = Flags(BUILTIN, "local"), CurrentTimeouts(Settings().timeouts)
    flags.on_change(lambda changed: obey(changed, current))
    flags.put(LEGACY_TIMEOUTS, Rule(stage="staged"))
    assert current.now == Settings().timeouts
