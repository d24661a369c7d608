"""A chat that answers at once, but stands still for one second in every five: the reference case of honest load.

`python -m bench.peers.frozen` prints its port, and at the end when it answered each run, by its own clock. It speaks as
much of the goldenpath protocol as a run needs, without HTTP.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

PERIOD = 5.0
FROZEN = 1.0


class Connection(WSListener):
    """Answers each run with all of its events in one message."""

    def __init__(self, answered: dict[str, float]) -> None:
        self._answered = answered
        self._seqs: dict[str, int] = {}

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        command = json.loads(frame.get_payload_as_bytes())
        thread, run = command["thread_id"], command["run_id"]
        seq = self._seqs.get(thread, 0)
        events = [
            {"type": "RUN_STARTED", "threadId": thread, "runId": run},
            {"type": "TEXT_MESSAGE_START", "messageId": run},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": run, "delta": command["text"]},
            {"type": "TEXT_MESSAGE_END", "messageId": run},
            {"type": "RUN_FINISHED", "threadId": thread, "runId": run},
        ]
        frames: list[dict[str, object]] = [
            {"re": command["id"], "ok": True, "thread_id": thread, "run_id": run, "epoch": "e", "seq": seq}
        ]
        frames += [
            {"thread_id": thread, "run_id": run, "seq": seq + number, "event": event}
            for number, event in enumerate(events, 1)
        ]
        self._seqs[thread] = seq + len(events)
        transport.send(WSMsgType.TEXT, "\n".join(map(json.dumps, frames)).encode())
        self._answered[run] = time.perf_counter()


async def main() -> None:
    """Serve until stdin ends, which is when whoever started it is gone."""

    def accept(request: WSUpgradeRequest) -> WSListener:  # noqa: ARG001
        return Connection(answered)

    answered: dict[str, float] = {}
    server = await ws_create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    gone = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    freezing = asyncio.create_task(freeze())
    await gone
    freezing.cancel()
    print(json.dumps(answered), flush=True)


async def freeze() -> None:
    """Stand still at the end of each period, whatever it takes to get there."""
    due = time.perf_counter()
    while True:
        due += PERIOD
        await asyncio.sleep(due - FROZEN - time.perf_counter())
        time.sleep(due - time.perf_counter())


if __name__ == "__main__":
    asyncio.run(main())
