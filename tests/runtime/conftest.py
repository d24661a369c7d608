from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldenpath.runtime.interfaces import LogStore
from tests.runtime.stores.opened import KINDS, opened_log


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    """Each log store in turn."""
    async with opened_log(request.param, tmp_path) as found:
        yield found
