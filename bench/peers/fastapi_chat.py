"""A chat over WebSocket as one writes it by hand in an afternoon: FastAPI, uvicorn, a token table, one task a run.

It speaks as much of our protocol as the reference workload needs, so that the same users drive both. It keeps no log: a
socket that drops loses its stream. With `--sqlite FILE` it writes a row when a run starts and when it ends, in a
thread, as such servers do to keep a history.

    python -m bench.peers.fastapi_chat --port 9000 [--sqlite chat.db] [--ws auto|websockets|websockets-sansio]
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sqlite3
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import msgspec
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from bench import workload

encode = msgspec.json.Encoder().encode


class Login(BaseModel):
    email: str


class Command(msgspec.Struct):
    id: int
    thread_id: str
    run_id: str
    text: str


command_decoder = msgspec.json.Decoder(Command)


class History:
    """Runs in SQLite, written by one thread so that the loop never waits for the disk."""

    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE runs (user_id TEXT, thread_id TEXT, run_id TEXT, started REAL, question TEXT,"
            " finished REAL, answer TEXT, PRIMARY KEY (user_id, thread_id, run_id)) WITHOUT ROWID"
        )

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        with self._database:
            self._database.execute(sql, values)

    async def start(self, user_id: str, command: Command) -> None:
        values = (user_id, command.thread_id, command.run_id, time.time(), command.text)
        sql = "INSERT INTO runs (user_id, thread_id, run_id, started, question) VALUES (?, ?, ?, ?, ?)"
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, sql, values)

    async def finish(self, user_id: str, command: Command, answer: str) -> None:
        values = (time.time(), answer, user_id, command.thread_id, command.run_id)
        sql = "UPDATE runs SET finished = ?, answer = ? WHERE user_id = ? AND thread_id = ? AND run_id = ?"
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, sql, values)


class Chat:
    """One socket: sends each event as one frame and numbers them by thread."""

    def __init__(self, socket: WebSocket, user_id: str, history: History | None) -> None:
        self._socket = socket
        self._user_id = user_id
        self._history = history
        self._seq: defaultdict[str, int] = defaultdict(int)

    async def _send(self, command: Command, event: dict[str, object]) -> None:
        seq = self._seq[command.thread_id] = self._seq[command.thread_id] + 1
        frame = {"thread_id": command.thread_id, "run_id": command.run_id, "seq": seq, "event": event}
        await self._socket.send_text(encode(frame).decode())

    async def _accept(self, command: Command) -> None:
        ids = {"thread_id": command.thread_id, "run_id": command.run_id}
        reply = {"re": command.id, "ok": True, **ids, "epoch": "e", "seq": self._seq[command.thread_id]}
        await self._socket.send_text(encode(reply).decode())

    async def run(self, command: Command) -> None:
        """The agent: a simulated tool call, then the answer as deltas."""
        await self._accept(command)
        if self._history:
            await self._history.start(self._user_id, command)
        mark, delay = workload.marker_of(command.text), workload.delay_of(command.text)
        ids = {"threadId": command.thread_id, "runId": command.run_id}
        await self._send(command, {"type": "RUN_STARTED", **ids})
        call = {"toolCallId": f"call_{secrets.token_hex(8)}"}
        await self._send(command, {"type": "TOOL_CALL_START", **call, "toolCallName": workload.TOOL})
        await self._send(command, {"type": "TOOL_CALL_ARGS", **call, "delta": workload.tool_arguments(mark)})
        await self._send(command, {"type": "TOOL_CALL_END", **call})
        result = {"messageId": f"msg_{secrets.token_hex(8)}", **call, "content": workload.tool_answer(mark)}
        await self._send(command, {"type": "TOOL_CALL_RESULT", **result})
        message_id = f"msg_{secrets.token_hex(8)}"
        await self._send(command, {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"})
        text = []
        for delta in workload.deltas(mark):
            if delay:
                await asyncio.sleep(delay)
            text.append(delta)
            await self._send(command, {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta})
        await self._send(command, {"type": "TEXT_MESSAGE_END", "messageId": message_id})
        if self._history:
            await self._history.finish(self._user_id, command, "".join(text))
        await self._send(command, {"type": "RUN_FINISHED", **ids})


def create_app(history: History | None = None) -> FastAPI:
    app = FastAPI()
    users: dict[str, str] = {}
    tokens: dict[str, str] = {}

    @app.get("/livez")
    async def livez() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/v1/auth/simulate")
    async def login(body: Login) -> dict[str, str]:
        user_id = users.setdefault(body.email, secrets.token_hex(8))
        token = secrets.token_urlsafe(24)
        tokens[token] = user_id
        return {"user_id": user_id, "access_token": token}

    @app.websocket("/v1/ws")
    async def chat(socket: WebSocket) -> None:
        user_id = tokens.get(socket.headers.get("authorization", "").removeprefix("Bearer "))
        if user_id is None:
            await socket.close(4401)
            return
        await socket.accept()
        session = Chat(socket, user_id, history)
        runs: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.create_task(session.run(command_decoder.decode(await socket.receive_text())))
                runs.add(task)
                task.add_done_callback(runs.discard)
        except WebSocketDisconnect:
            pass
        finally:
            for task in runs:
                task.cancel()

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--sqlite")
    parser.add_argument("--ws", default="auto")
    options = parser.parse_args()
    app = create_app(History(options.sqlite) if options.sqlite else None)
    uvicorn.run(
        app, port=options.port, ws=options.ws, loop="uvloop", http="httptools", log_level="warning", backlog=4096
    )


if __name__ == "__main__":
    main()
