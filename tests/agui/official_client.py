"""The official JavaScript clients, driven from Python: driver.mjs in a process of its own for each."""

from __future__ import annotations

import json
import selectors
import subprocess
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent

Version = Literal["agui1", "agui0"]
"""`@ag-ui/client` 1.0.0, and 0.0.59 of the 0.x line, by their aliases in package.json."""
ANSWER_TIMEOUT = 60


class OfficialClient:
    """One `HttpAgent` of one version of the client, on one thread of one user."""

    def __init__(self, version: Version, server_url: str, agent: str, thread_id: str, token: str) -> None:
        self._process = subprocess.Popen(
            ["node", "driver.mjs", version], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._url = server_url
        self._agent = agent
        self.thread_id = thread_id
        self._token = token
        self._messages = 0
        self._open()

    def prepare_cancel(self, run_id: str) -> None:
        """Say which run an `at` with `cancel` is to stop. Before the first message: it makes a new agent."""
        self._open(run_id)

    def _open(self, run_id: str = "") -> None:
        thread = f"{self._url}/v1/threads/{self.thread_id}"
        self.command(
            "open",
            url=f"{self._url}/v1/agents/{self._agent}/run",
            cancelUrl=f"{thread}/runs/{run_id}/cancel",
            headers={"Authorization": f"Bearer {self._token}"},
            threadId=self.thread_id,
        )

    def command(self, op: str, **fields: Any) -> dict[str, Any]:
        """Give the driver a command and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(ANSWER_TIMEOUT), f"the client did not answer {op} in {ANSWER_TIMEOUT} s"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert answer["ok"], answer
        return answer

    def say(self, text: str) -> None:
        """Add a user message to the client's list."""
        self._messages += 1
        self.add({"id": f"user-{self.thread_id}-{self._messages}", "role": "user", "content": text})

    def add(self, message: dict[str, Any]) -> None:
        """Add any message to the client's list."""
        self.command("say", message=message)

    def run(self, text: str | None = None, *, at: dict[str, Any] | None = None, **parameters: Any) -> Result:
        """Say `text`, where there is one, and run the agent to its end."""
        if text is not None:
            self.say(text)
        return Result(self.command("run", parameters=parameters, at=at))

    def resume(self, status: str, payload: Any = None) -> Result:
        """Answer every pending interrupt, and run the agent to its end."""
        return Result(self.command("resume", status=status, payload=payload))

    def close(self) -> None:
        """End the driver."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Result:
    """What the client made of one run."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.events: list[dict[str, Any]] = answer["events"]
        self.ends: list[dict[str, Any]] = answer["ends"]
        self.rejected: str | None = answer.get("rejected")
        self.cancel_status: int | None = answer.get("cancelStatus")
        self.result: Any = answer.get("result")
        self.messages: list[dict[str, Any]] = answer["messages"]
        self.state: Any = answer["state"]
        self.pending_interrupts: list[dict[str, Any]] = answer["pendingInterrupts"]
        self.warnings: list[str] = answer["warnings"]

    @property
    def end(self) -> dict[str, Any]:
        """How the client says the run ended: the one callback of its kind."""
        (end,) = self.ends
        return end

    @property
    def types(self) -> list[str]:
        """The events' types, a row of the same as one."""
        types = [event["type"] for event in self.events]
        return [name for index, name in enumerate(types) if index == 0 or name != types[index - 1]]

    def of(self, event_type: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == event_type]

    def assert_clean(self) -> Result:
        """The client took every event as it came: it failed at none, stripped nothing, warned of nothing."""
        assert self.rejected is None
        assert self.warnings == []
        return self
