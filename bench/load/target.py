"""The two kinds of server the load client can speak to: how to log in, where to connect, what a command looks like."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench import workload
from bench.load.http import Http

LOGIN_CONNECTIONS = 8


@dataclass
class Target:
    """A server under load. `name` is "goldenpath" (docs/protocol.md), "replay" (peers/replay.py: no login), or
    anything else for the hand-written chat."""

    name: str
    url: str
    simulation_key: str = ""
    _tokens: dict[int, str] = field(default_factory=dict)

    @property
    def is_goldenpath(self) -> bool:
        return self.name == "goldenpath"

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + ("/v1/ws" if self.is_goldenpath else "/ws")

    async def login_one(self, http: Http, user: int) -> dict[str, Any]:
        """Log one user in; the answer's JSON."""
        body = {"email": f"user{user}@bench.example"}
        if self.is_goldenpath:
            answer = await http.request("POST", "/v1/auth/simulate", body, X_Simulation_Key=self.simulation_key)
        else:
            answer = await http.request("POST", "/login", body)
        self._tokens[user] = answer["access_token"]
        return dict(answer)

    async def login(self, users: range) -> None:
        """Log in every user that is not yet, over a few connections."""
        if self.name == "replay":
            self._tokens.update(dict.fromkeys(users, ""))
        missing = [user for user in users if user not in self._tokens]

        async def work(part: list[int]) -> None:
            if part:
                async with Http(self.url) as http:
                    for user in part:
                        await self.login_one(http, user)

        await asyncio.gather(*(work(missing[start::LOGIN_CONNECTIONS]) for start in range(LOGIN_CONNECTIONS)))

    def headers(self, user: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[user]}"}

    def run_command(self, number: int, thread_id: str, run_id: str, mark: str, delay_ms: int) -> bytes:
        command: dict[str, Any] = {"id": number, "thread_id": thread_id, "run_id": run_id}
        text = workload.prompt(mark)
        if self.is_goldenpath:
            message = {"id": f"m-{run_id}", "role": "user", "content": text}
            command |= {"op": "run", "agent": workload.AGENT}
            command["input"] = {"messages": [message], "forwardedProps": {"delay_ms": delay_ms}}
        else:
            command |= {"text": text, "delay_ms": delay_ms}
        return msgspec.json.encode(command)

    @staticmethod
    def attach_command(number: int, thread_id: str, epoch: str, seq: int) -> bytes:
        after = {"seq": seq} | ({"epoch": epoch} if epoch else {})
        return msgspec.json.encode({"id": number, "op": "attach", "thread_id": thread_id, "after": after})
