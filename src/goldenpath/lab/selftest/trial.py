"""One trial: a reference server with one fault, or with none, a scenario against it, and what the lab says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from goldenpath.lab.experiment import Experiment, Job, Watcher
from goldenpath.lab.selftest.cases import Case
from goldenpath.lab.selftest.gateway import SIMULATION_KEY
from goldenpath.lab.summary import ScenarioResult, judge_directory
from goldenpath.lab.target import TargetError
from goldenpath.lab.targets import TargetSpec

_START: Final = 30.0
"""Seconds that a server may take until it listens."""


@asynccontextmanager
async def reference_server(fault: str, case: Case, seed: int) -> AsyncIterator[TargetSpec]:
    """A process with a server, for as long as the block lasts. Raises `TargetError` where it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "goldenpath.lab.selftest.server", "--fault", fault, "--seed", str(seed)),
        *("--settings", msgspec.json.encode(case.settings).decode()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START):
            port = (await process.stdout.readline()).decode().strip()
        if not port:
            raise TargetError("unreachable", "the reference server did not start")
        url = f"http://127.0.0.1:{port}"
        yield TargetSpec("goldenpath", {"url": url, "simulation_key": SIMULATION_KEY})
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_START):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def try_out(fault: str, case: Case, seed: int, patience: float, directory: Path) -> ScenarioResult:
    """Run the case against a server with this fault. `patience`: in seconds, of its users. Its history is left in
    `directory`."""
    scenario = msgspec.structs.replace(case.scenario, patience=patience)
    async with reference_server(fault, case, seed) as target:
        job = Job(
            scenario=scenario, directory=directory, target=target, target_name=fault, seed=seed, levels=case.levels
        )
        await Experiment(job, Watcher()).run()
    return judge_directory(directory)
