"""Which agents `goldenpath serve` offers, and that it says so when there are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from goldenpath.cli.serve import NO_AGENTS
from tests.serverprocess import ServerProcess


@pytest.mark.parametrize("builtin", ["true", "false"])
def test_a_server_without_agents_says_so_and_serves(launch: Callable[..., ServerProcess], builtin: str) -> None:
    server = launch(GOLDENPATH_BUILTIN_AGENTS=builtin)
    assert (NO_AGENTS in server.log()) == (builtin == "false")
