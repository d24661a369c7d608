"""Whole runs, with real worker processes against a real server: what is left on disk, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from goldenpath.lab.arrivals import Looping, constant
from goldenpath.lab.experiment import Experiment, Job, Watcher
from goldenpath.lab.faults import parse_fault
from goldenpath.lab.history import HistoryError, load_manifest, read_history
from goldenpath.lab.records import Complete, Injected, Invoke, Noted, Record, Sampled
from goldenpath.lab.scenario import Scenario
from goldenpath.lab.summary import judge_directory
from goldenpath.lab.targets import TargetSpec
from goldenpath.lab.verdict import Verdict
from goldenpath.lab.worker import Tick
from goldenpath.lab.workload import WorkloadSpec
from tests.serverprocess import SIMULATION_KEY, ServerProcess

PATH = Scenario(
    name="small",
    title="",
    checks="",
    workload=WorkloadSpec("golden_path", {"messages": 2, "characters": 40}),
    arrivals=Looping(iterations=1),
    users=4,
)
ASKING = Scenario(
    name="asking",
    title="",
    checks="",
    workload=WorkloadSpec("asking"),
    arrivals=constant(20, 60),
    users=4,
)


class Once(Watcher):
    """Does something at the first tick."""

    def __init__(self) -> None:
        self.ticks = 0
        self.ticking = asyncio.Event()

    def ticked(self, ticks: Sequence[Tick], seconds: float) -> None:
        self.ticks += 1
        if sum(tick.runs for tick in ticks) > 0:
            self.ticking.set()


def records(directory: Path) -> list[Record]:
    """What can be read."""
    read: list[Record] = []
    with suppress(HistoryError):
        read.extend(read_history(directory))
    return read


def notes(directory: Path) -> dict[str, str]:
    return {record.kind: record.text for record in records(directory) if isinstance(record, Noted)}


def outcomes(directory: Path) -> dict[str, Counter[str]]:
    kinds: dict[int, str] = {}
    counts: dict[str, Counter[str]] = {}
    for record in records(directory):
        if isinstance(record, Invoke):
            kinds[record.op] = record.kind
        elif isinstance(record, Complete):
            counts.setdefault(kinds[record.op], Counter())[record.outcome] += 1
    return counts


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_two_workers_share_the_users_and_leave_one_history(tmp_path: Path) -> None:
    before = children()
    await Experiment(Job(scenario=PATH, directory=tmp_path, workers=2), Watcher()).run()
    counts = outcomes(tmp_path)
    assert counts["login"] == counts["connect"] == counts["history"] == {"ok": 4}
    assert counts["ask"] == {"ok": 8}
    assert {record.user for record in records(tmp_path) if isinstance(record, Invoke)} == {0, 1, 2, 3}
    assert set(notes(tmp_path)) == {"sealed", "begun", "ended"}
    manifest = load_manifest(tmp_path)
    assert (manifest.scenario, manifest.users, manifest.workers) == ("small", 4, 2)
    assert manifest.zero > 0
    assert not (tmp_path / "data").exists()
    assert children() == before


async def test_it_can_be_interrupted_and_keeps_what_was_seen(tmp_path: Path) -> None:
    before = children()
    watcher = Once()
    experiment = Experiment(Job(scenario=ASKING, directory=tmp_path), watcher)
    running = asyncio.ensure_future(experiment.run())
    await watcher.ticking.wait()
    experiment.interrupt("hand")
    async with asyncio.timeout(30):
        await running
    assert experiment.interrupted
    assert "interrupted" in notes(tmp_path)
    counts = outcomes(tmp_path)["ask"]
    assert counts["ok"] > 0
    assert children() == before


async def test_a_target_that_is_not_there_is_named_and_nothing_is_run(tmp_path: Path) -> None:
    target = TargetSpec("goldenpath", {"url": "http://127.0.0.1:9"})
    await Experiment(Job(scenario=PATH, directory=tmp_path, target=target), Watcher()).run()
    noted = notes(tmp_path)
    assert "http://127.0.0.1:9" in noted["target_lost"]
    assert "begun" not in noted


async def test_a_server_that_dies_in_the_run_is_missed_at_its_end(tmp_path: Path) -> None:
    class Assassin(Once):
        def ticked(self, ticks: Sequence[Tick], seconds: float) -> None:
            super().ticked(ticks, seconds)
            if self.ticking.is_set():
                for child in psutil.Process().children():
                    if "serve" in child.cmdline():
                        os.kill(child.pid, signal.SIGKILL)

    scenario = Scenario(
        name="dies", title="", checks="", workload=WorkloadSpec("asking"), arrivals=constant(20, 3), users=4, patience=5
    )
    await Experiment(Job(scenario=scenario, directory=tmp_path), Assassin()).run()
    assert "cannot be reached" in notes(tmp_path)["target_lost"]
    counts = outcomes(tmp_path)["ask"]
    assert counts["ok"] > 0
    assert counts["fail"] + counts["info"] > 0


async def test_a_kill_is_injected_and_users_come_back_to_every_answer(tmp_path: Path) -> None:
    scenario = Scenario(
        name="kill",
        title="",
        checks="",
        workload=WorkloadSpec("asking"),
        arrivals=constant(20, 4),
        users=4,
        faults=(parse_fault("kill@1"), parse_fault("latency=5ms@2+1")),
    )
    await Experiment(Job(scenario=scenario, directory=tmp_path), Watcher()).run()
    injected = [(record.fault, record.on) for record in records(tmp_path) if isinstance(record, Injected)]
    assert injected.count(("kill@1", True)) == injected.count(("kill@1", False)) == 1
    assert ("latency=5ms@2+1", False) in injected
    asked = outcomes(tmp_path)["ask"]
    assert asked.total() == 80
    assert asked["ok"] + sum(1 for _ in _interrupted(tmp_path)) == 80
    assert "target_lost" not in notes(tmp_path)


def _interrupted(directory: Path) -> list[Complete]:
    """Runs that the kill cut: they say so."""
    return [each for each in records(directory) if isinstance(each, Complete) and each.code == "run_interrupted"]


async def test_what_cannot_be_written_about_the_run_itself_is_handed_over(tmp_path: Path) -> None:
    before = children()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FullDisk(Watcher):
        def begun(self, job: Job) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # the workers have their own limits already

    experiment = Experiment(Job(scenario=PATH, directory=tmp_path), FullDisk())
    try:
        await experiment.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert children() == before
    doubt = f"the lab itself failed: the history cannot be written: {os.strerror(errno.EFBIG)}"
    assert judge_directory(tmp_path, experiment.unwritten).doubts == (doubt,)
    cut, endless = judge_directory(tmp_path).doubts
    assert "history-0.bin was cut" in cut
    assert endless == "the history has no end: the lab was killed, or could not write it"
    assert outcomes(tmp_path)["ask"] == {"ok": 8}  # what the worker wrote is there


async def test_a_worker_that_is_stopped_for_good_is_given_up_and_the_run_is_unknown(tmp_path: Path) -> None:
    watcher = Once()
    experiment = Experiment(Job(scenario=ASKING, directory=tmp_path, workers=2, silence=3.0), watcher)
    running = asyncio.create_task(experiment.run())
    async with asyncio.timeout(60):
        await watcher.ticking.wait()
        stopped = next(child for child in psutil.Process().children() if "goldenpath.lab.worker" in child.cmdline())
        stopped.suspend()
        await running
    assert not stopped.is_running()
    result = judge_directory(tmp_path, experiment.unwritten)
    assert result.verdict is not Verdict.PASS
    assert any("does not answer: nothing came from it for 3 s" in doubt for doubt in result.doubts), result.doubts


async def test_the_target_and_the_generator_are_watched(tmp_path: Path) -> None:
    scenario = Scenario(
        name="watched", title="", checks="", workload=WorkloadSpec("asking"), arrivals=constant(10, 2.5), users=4
    )
    await Experiment(Job(scenario=scenario, directory=tmp_path), Watcher()).run()
    samples = [record for record in records(tmp_path) if isinstance(record, Sampled)]
    target = [sample.figures for sample in samples if sample.source == "target"]
    assert len(target) >= 2
    assert all(figures["memory_mb"] > 10 and figures["processes"] == 1 for figures in target)
    assert any(
        figures["connections"] == 4 and figures["tasks"] > 1 and figures["allocated_blocks"] > 1e5 for figures in target
    )
    assert all(0 < figures["round_trip"] < 1 for figures in target)
    workers = [sample.figures for sample in samples if sample.source == "worker 0"]
    assert any(figures["cpu_percent"] > 0 for figures in workers)


async def test_users_stay_longer_than_one_login_is_good_for(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", GOLDENPATH_ACCESS_TOKEN_TTL="2.5").start()  # renewed every 2 s
    target = TargetSpec("goldenpath", {"url": server.url, "simulation_key": SIMULATION_KEY})
    scenario = Scenario(
        name="long", title="", checks="", workload=WorkloadSpec("asking"), arrivals=constant(10, 2.5), users=3
    )
    try:
        await Experiment(Job(scenario=scenario, directory=tmp_path / "out", target=target), Watcher()).run()
    finally:
        server.stop()
    counts = outcomes(tmp_path / "out")
    assert counts["refresh"]["ok"] >= 3
    assert counts["login"] == {"ok": 3 + counts["refresh"]["ok"]}
    assert counts["ask"] == {"ok": 25}
    assert counts["connect"] == {"ok": 3}
