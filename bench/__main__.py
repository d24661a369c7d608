"""`python -m bench` runs every benchmark and writes docs/performance.md; `python -m bench NAME...` runs some.

Each benchmark runs in a process of its own, so that one cannot disturb the next. Options after the names go to each of
them: `python -m bench throughput memory --repetitions 2`.
"""

from __future__ import annotations

import subprocess
import sys

from bench.catalogue import NAMES
from bench.server import ROOT

TIMEOUT = 1800.0


def main() -> int:
    arguments = sys.argv[1:]
    first_option = next((index for index, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:first_option] or list(NAMES), arguments[first_option:]
    unknown = [name for name in names if name not in NAMES]
    if unknown or "--help" in options:
        print(f"{__doc__}\nBenchmarks: {', '.join(NAMES)}")
        return 2 if unknown else 0
    failed = []
    for name in names:
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"bench.{name}", *options], cwd=ROOT, timeout=TIMEOUT, check=False
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            failed.append(name)
        print(flush=True)
    if "--quick" not in options and not any(option.startswith("--out") for option in options):
        subprocess.run([sys.executable, "-m", "bench.report"], cwd=ROOT, check=True)
    if failed:
        print(f"Failed, or without figures: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
