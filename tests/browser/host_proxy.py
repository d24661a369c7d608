"""A proxy that calls the server by another name than its users do, so that every page is of a strange origin."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

INSIDE = b"inside.example"


class HostProxy:
    """Forwards connections to `port` on loopback, with another Host header."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]

    @property
    def host(self) -> str:
        """What users call it: host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data.replace(b"Host: " + self.host.encode(), b"Host: " + INSIDE))
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
