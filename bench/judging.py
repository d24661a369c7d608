"""How fast a stored history is judged again, and whether what its judge remembers grows with it.

python -m bench.judging --events 100000000      # takes 15 GB of the disk and some minutes
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import workload
from bench.benchmark import Benchmark, Figures, Options, Row, main
from bench.peers.replay import template
from bench.server import ROOT, SERVER_CORE, Side, pin
from goldenpath.lab.canary import Canaries
from goldenpath.lab.history import HistoryWriter, path_of, save_manifest
from goldenpath.lab.records import Complete, Invoke, Manifest, Noted, Opened, Received, Record
from goldenpath.lab.summary import judge_directory

EVENTS = 24_000_000
"""With half of it everything that the judge remembers has reached its bound: from there on nothing may grow."""
LESS = 2
"""The other history has so many times fewer events."""
USERS = 100
THREADS = 1
TOGETHER = 25
"""Events of one message."""
SECONDS = 400.0
"""How long the run took that the history is of, whatever its size: it is its events, not its seconds, that grow."""
NONCE = "bench"
ZERO = 1_000.0


def records(events: int) -> Iterator[Record]:
    """A history of about so many events: whole runs, one after another, of users who take turns, each with some
    threads."""
    canaries = Canaries(NONCE)
    frames = template(1)
    parts = [frames[start : start + TOGETHER] for start in range(0, len(frames), TOGETHER)]
    messages = [(b"\n".join(part), len(part)) for part in parts]
    runs = max(1, events // workload.EVENTS)
    step = SECONDS / runs / (len(messages) + 3)
    seqs: dict[bytes, int] = {}
    now = ZERO
    for user in range(USERS):
        yield Opened(now, user, user + 1)
    for number in range(1, runs + 1):
        turn, user = divmod(number, USERS)
        thread, run = f"t-{user}-{turn % THREADS}", f"run-{number}"
        key, name, mark = thread.encode(), run.encode(), workload.marker(user, turn % 1_296)
        seq = seqs.get(key, 0)
        text = f"{mark} {canaries.make(user, number)}"
        now += step
        yield Invoke(now, number, user, "ask", now, user + 1, thread, run, text, workload.answer(mark))
        reply = b'{"re":%d,"ok":true,"thread_id":"%b","run_id":"%b","epoch":"e","seq":%d}' % (number, key, name, seq)
        now += step
        yield Received(now, user, user + 1, reply)
        for message, count in messages:
            body = message.replace(b"MARKER", mark.encode()).replace(b"THREAD", key).replace(b'RUN"', name + b'"')
            now += step
            yield Received(now, user, user + 1, body % tuple(range(seq + 1, seq + count + 1)))
            seq += count
        seqs[key] = seq
        now += step
        yield Complete(now, number, "ok")
    yield Noted(now, "ended")


def store(directory: Path, events: int) -> int:
    """Write a history of so many events. Returns its size in bytes."""
    manifest = Manifest(
        version="0", scenario="soak", users=USERS, seed=1, nonce=NONCE, format="goldenpath", zero=ZERO, levels=()
    )
    with HistoryWriter(path_of(directory, 0), NONCE) as writer:
        writer.write(Noted(ZERO, "sealed", save_manifest(directory, manifest)))
    path = path_of(directory, 1)
    with HistoryWriter(path, NONCE) as writer:
        for record in records(events):
            writer.write(record, len(record.payload) if isinstance(record, Received) else 0)
    return path.stat().st_size


def judge(directory: Path) -> Figures:
    """Judge a stored history here, in a process that has done nothing else."""
    before = _peak()
    began = time.process_time()
    result = judge_directory(directory)
    used = time.process_time() - began
    wrong = [f"{each.checker}: {each.counts or each.broken}" for each in result.findings if each.counts or each.broken]
    return {
        "events": result.measured.events,
        "seconds": used,
        "peak_mb": _peak(),
        "before_mb": before,
        "wrong": wrong + list(result.doubts),
    }


def _peak() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _apart(events: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-judging-") as directory:
        size = store(Path(directory), events)
        command = [sys.executable, "-m", "bench.judging", "--judge", directory]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        figures: Figures = {**json.loads(done.stdout), "size_mb": size / 1e6}
        return figures


def made(events: int = EVENTS) -> Benchmark:
    """The benchmark with a history of so many events."""

    def sample(side: Side, options: Options) -> Figures:  # noqa: ARG001
        count = options.pick(events, events // 20)
        less, more = _apart(count // LESS), _apart(count)
        return {
            "clean": not less["wrong"] and not more["wrong"],
            "verdict": "; ".join(less["wrong"] + more["wrong"]) or "clean",
            "per_second": more["events"] / more["seconds"],
            "peak_mb": more["peak_mb"],
            "less_peak_mb": less["peak_mb"],
            "bytes_per_event": (more["peak_mb"] - less["peak_mb"]) * 1e6 / (more["events"] - less["events"]),
            "size_mb": more["size_mb"],
        }

    return Benchmark(
        name="judging",
        title="Judging a stored history",
        about=f"A history of {events:,} events, {TOGETHER} to a message, of {USERS} users with a thread each, and one"
        " of half of that in as many seconds, each judged by all checkers in a process of its own.",
        rows=(
            Row("per_second", "events judged a second of CPU", "1/s", "higher", digits=0),
            Row("peak_mb", "peak memory of the process", "MB", digits=0),
            Row("less_peak_mb", "the same with half of the events", "MB", digits=0),
            Row("bytes_per_event", "growth for each event more", "bytes", digits=2),
            Row("size_mb", "the history on disk", "MB", digits=0),
        ),
        sample=sample,
        sides=("lab",),
        repetitions=1,
        arguments="" if events == EVENTS else f"--events {events}",
    )


BENCHMARK = made()


def _main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--judge", type=Path)
    options, others = parser.parse_known_args()
    if options.judge is not None:
        pin(SERVER_CORE)
        print(json.dumps(judge(options.judge)))
        return 0
    return main(made(options.events), others)


if __name__ == "__main__":
    sys.exit(_main())
