"""Somebody else's ASGI app under a real uvicorn process."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[3]


def blocks(page: str, language: str) -> list[str]:
    """The code of a how-to."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/howto" / page).read_text(), re.DOTALL)


class UvicornProcess:
    """Serves `app` of `code` on a port of its own, until it is killed."""

    def __init__(self, code: str, directory: Path) -> None:
        (directory / "served.py").write_text(code)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._log = directory / "uvicorn.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "served:app", "--fd", str(self._listener.fileno())],
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self._listener.fileno()],
            )
        self._listener.close()  # the process has its own
        try:
            httpx.get(f"http://127.0.0.1:{self.port}/", timeout=60)  # it waits in the listener's queue
        except httpx.HTTPError as error:
            self.kill()
            raise AssertionError(f"uvicorn does not serve:\n{self._log.read_text()}") from error

    def kill(self) -> None:
        """kill -9. Harmless when it has ended."""
        self._process.kill()
        self._process.wait()
