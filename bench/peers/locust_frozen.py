"""The frozen server as one asks it with Locust: users who keep a WebSocket, and ask ten times a second each."""

from __future__ import annotations

import itertools
import json
import time

from locust import User, constant_throughput, task
from websocket import create_connection


class Asking(User):  # type: ignore[misc]
    """One of 50: together they ask 500 times a second."""

    wait_time = constant_throughput(10)
    numbers = itertools.count(1)

    def on_start(self) -> None:
        self.number = next(self.numbers)
        self.asked = 0
        self.socket = create_connection(self.host.replace("http", "ws"))

    def on_stop(self) -> None:
        self.socket.close()

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        self.asked += 1
        thread = f"t-{self.number}"
        command = {"id": self.asked, "op": "run", "thread_id": thread, "run_id": f"{thread}-{self.asked}", "text": "hi"}
        began = time.perf_counter()
        self.socket.send(json.dumps(command))
        size = 0
        while True:
            message = self.socket.recv()
            size += len(message)
            if "RUN_FINISHED" in message:
                break
        self.environment.events.request.fire(
            request_type="WS",
            name="run",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=size,
            exception=None,
            context={},
        )
