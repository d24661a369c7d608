"""The replay server as one asks it with Locust: users who ask again at once, and count what comes."""

from __future__ import annotations

import itertools
import json
import time

from locust import User, constant, task
from websocket import create_connection

EVENTS = 58  # of each run: bench/workload.py, which is not there where Locust runs


class Asking(User):  # type: ignore[misc]
    """One of many."""

    wait_time = constant(0)
    numbers = itertools.count(1)

    def on_start(self) -> None:
        self.number = next(self.numbers)
        self.asked = 0
        self.socket = create_connection(self.host)

    def on_stop(self) -> None:
        self.socket.close()

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        self.asked += 1
        run = f"{self.number}-{self.asked}"
        began = time.perf_counter()
        command = {"id": self.asked, "op": "run", "thread_id": f"t-{self.number}", "run_id": run, "text": "aaaaaa"}
        self.socket.send(json.dumps(command, separators=(",", ":")))
        self.socket.recv()  # the reply
        seen = 0
        while True:
            message = self.socket.recv()
            seen += message.count("\n") + 1
            if "RUN_FINISHED" in message:
                break
        self.environment.events.request.fire(
            request_type="WS",
            name="run",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=None if seen == EVENTS else AssertionError(f"{seen} events"),
            context={},
        )
