from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.runtime.agents.stage import Stage, opened_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A server in this process with the built-in agents."""
    async with opened_stage(tmp_path) as opened:
        yield opened
