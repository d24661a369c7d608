"""A real `goldenpath serve` process for tests: started, killed, restarted on the same port and data."""

from __future__ import annotations

import os
import re
import selectors
import signal
import ssl
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

SIMULATION_KEY = "simulation-key-for-tests"


class ServerProcess:
    """One server with its data directory. `env` adds to the environment; `target` is MODULE:APP."""

    def __init__(
        self, data_dir: Path, *, target: str | None = None, cwd: Path | None = None, uds: str | None = None, **env: str
    ) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.port = 0
        self._target = target
        self._cwd = cwd
        self._uds = uds
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"{'ws' if self.tls is None else 'wss'}://127.0.0.1:{self.port}/v1/ws"

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """How clients know the server by its certificate; None where it speaks plainly."""
        certificate = self._env.get("GOLDENPATH_TLS_CERT")
        return None if certificate is None else ssl.create_default_context(cafile=certificate)

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """The same for httpx. Without TLS it must not look for certificates: reading all takes 60 ms."""
        return self.tls or False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True) -> ServerProcess:
        """Start, or start again on the same port. Returns when it listens, and when it is ready unless told not to."""
        command, environ = self.command(), self.environ()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, cwd=self._cwd, stdout=subprocess.PIPE, stderr=log)
        line = self._first_line()
        found = re.search(r":(\d+) \(", line)
        if found:
            self.port = int(found[1])
        if ready:
            self.wait_ready()
        return self

    def command(self) -> list[str]:
        """What is started."""
        command = [sys.executable, "-m", "goldenpath.cli", "serve"]
        command += [self._target] if self._target else []
        command += ["--data-dir", str(self.data_dir)]
        return command + (["--uds", self._uds] if self._uds else ["--port", str(self.port)])

    def environ(self) -> dict[str, str]:
        """The environment it is started with."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GOLDENPATH_")},
            "ENVIRONMENT": "testing",
            "GOLDENPATH_SIMULATION_KEY": SIMULATION_KEY,
            **self._env,
        }

    def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(20):
                self.kill()
                raise AssertionError(f"the server said nothing:\n{self.log()}")
        line = self._process.stdout.readline().decode()
        assert "serves at" in line, f"the server did not start: {line}\n{self.log()}"
        return line

    def wait_ready(self) -> None:
        """Wait until /readyz answers 200."""
        transport = httpx.HTTPTransport(uds=self._uds) if self._uds else None
        deadline = time.monotonic() + 20
        with httpx.Client(base_url=self.url, transport=transport, verify=self.verify) as client:
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < deadline, f"the server is not ready:\n{self.log()}"

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. Harmless when it has ended."""
        return self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end; returns the exit code."""
        assert self._process is not None
        code = self._process.wait(seconds)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()
        return code

    def log(self) -> str:
        """What the server wrote to stderr."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tokens(self, email: str, **claims: Any) -> dict[str, Any]:
        """Log a simulated user in."""
        answer = httpx.post(
            f"{self.url}/v1/auth/simulate",
            json={"email": email, **claims},
            headers={"X-Simulation-Key": SIMULATION_KEY},
            timeout=20,
            verify=self.verify,
        )
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens
