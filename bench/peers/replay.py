"""No chat at all: answers each command with a run's frames, made as cheaply as Python can, to find the client's limit.

`--together N` puts N frames into one WebSocket message. `--delay-ms N` waits so long between two messages, each of
which is a write of its own; one wheel of milliseconds turns for all connections. `--longer N` gives an answer N times
as many deltas.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from bench import workload

TICK = 0.001
"""Seconds."""
MESSAGE_END = b"\0"
FIELDS = re.compile(rb'"id":(\d+).*"thread_id":"([^"]*)","run_id":"([^"]*)","text":"([^"]{6})')


def template(longer: int) -> list[bytes]:
    """One run's frames, with %b for thread, run and marker and %d for the number; `longer` times the deltas."""
    frames = []
    mark = "MARKER"
    values = {
        "TOOL_CALL_ARGS": f',"delta":"{{\\"query\\":\\"{mark}\\"}}"',
        "TOOL_CALL_RESULT": f',"content":"{workload.tool_answer(mark)}"',
    }
    deltas = itertools.cycle(workload.deltas(mark))
    kinds = [kind for kind in workload.EVENT_TYPES for _ in range(longer if kind == "TEXT_MESSAGE_CONTENT" else 1)]
    for kind in kinds:
        value = values.get(kind, "")
        if kind.startswith("TEXT_MESSAGE"):
            value = ',"messageId":"msg_0123456789ab"' + (f',"delta":"{next(deltas)}"' if "CONTENT" in kind else "")
        frames.append(f'{{"thread_id":"THREAD","run_id":"RUN","seq":%d,"event":{{"type":"{kind}"{value}}}}}'.encode())
    return frames


class Wheel:
    """Sends the messages of each run `delay` seconds apart."""

    def __init__(self, delay: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._apart = max(1, round(delay / TICK))
        self._due: list[list[tuple[WSTransport, list[bytes]]]] = [[] for _ in range(self._apart + 1)]
        self._tick = 0
        self._began = self._loop.time()
        self._turn()

    def add(self, transport: WSTransport, messages: list[bytes]) -> None:
        """The next message is the last of the list, and goes out when `delay` is over."""
        self._due[(self._tick + self._apart) % len(self._due)].append((transport, messages))

    def _turn(self) -> None:
        now = self._loop.time() - self._began
        while self._tick * TICK <= now:
            due, self._due[self._tick % len(self._due)] = self._due[self._tick % len(self._due)], []
            later = self._due[(self._tick + self._apart) % len(self._due)]
            for item in due:
                transport, messages = item
                transport.send(WSMsgType.TEXT, messages.pop())
                if messages:
                    later.append(item)
            self._tick += 1
        self._loop.call_at(self._began + self._tick * TICK, self._turn)


class Run:
    """What a run's messages are made of: `together` frames each."""

    def __init__(self, together: int, longer: int) -> None:
        frames = template(longer)
        self.events = len(frames)
        parts = [frames[start : start + together] for start in range(0, len(frames), together)]
        self._messages = MESSAGE_END.join(b"\n".join(part) for part in parts)

    def of(self, thread: bytes, mark: bytes) -> bytes:
        """For `messages`: those of a thread and a marker."""
        body = self._messages.replace(b"MARKER", mark).replace(b"THREAD", thread)
        return body.replace(b'"RUN","seq":%d', b'"%b","seq":%d')

    def messages(self, body: bytes, run: bytes, seq: int) -> list[bytes]:
        """The messages of one run, whose events come after `seq`."""
        values: list[bytes | int] = [run] * (2 * self.events)
        values[1::2] = range(seq + 1, seq + self.events + 1)
        return (body % tuple(values)).split(MESSAGE_END)


class Connection(WSListener):
    def __init__(self, run: Run, wheel: Wheel | None) -> None:
        self._run = run
        self._wheel = wheel
        self._of = (b"", b"")
        self._body = b""
        self._thread = b""
        self._seq = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        found = FIELDS.search(frame.get_payload_as_bytes())
        if found is None:
            return
        command, thread, run, mark = found.groups()
        if thread != self._thread:
            self._thread, self._seq = thread, 0
        if (thread, mark) != self._of:
            self._of, self._body = (thread, mark), self._run.of(thread, mark)
        reply = b'{"re":%b,"ok":true,"thread_id":"%b","run_id":"%b","epoch":"e","seq":%d}'
        transport.send(WSMsgType.TEXT, reply % (command, thread, run, self._seq))
        messages = self._run.messages(self._body, run, self._seq)
        self._seq += self._run.events
        if self._wheel is None:
            for message in messages:
                transport.send(WSMsgType.TEXT, message)
        else:
            messages.reverse()
            transport.send(WSMsgType.TEXT, messages.pop())
            if messages:
                self._wheel.add(transport, messages)


async def serve(port: int, together: int, delay: float, longer: int) -> None:
    run, wheel = Run(together, longer), Wheel(delay) if delay else None

    def accept(request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if request.path.startswith(b"/livez"):
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(b"ok"), None)
        return Connection(run, wheel)

    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--longer", type=int, default=1)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, options.together, options.delay_ms / 1000, options.longer))


if __name__ == "__main__":
    main()
