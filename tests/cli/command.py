"""The `goldenpath` command, run to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Command:
    """Runs the command in `folder`, in the testing environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")}
        return subprocess.run(
            [sys.executable, "-m", "goldenpath.cli", *arguments],
            cwd=self.folder,
            env={
                **clean,
                "ENVIRONMENT": "testing",
                "COLUMNS": "200",
                **env,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def refused(self, *arguments: str, **env: str) -> str:
        """Run `serve`, which must not start: exit code 2, nothing on stdout, and one line on stderr, which is
        returned without its prefix."""
        done = self("serve", *arguments, **env)
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("goldenpath: "), line
        return line.removeprefix("goldenpath: ")
