"""No chat at all: answers each command with a run's frames, made as cheaply as Python can, to find the client's limit.

`--together N` puts N frames into one WebSocket message. `--delay-ms N` waits so long between two messages.
"""

from __future__ import annotations

import argparse
import asyncio
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

FIELDS = re.compile(rb'"id":(\d+).*"thread_id":"([^"]*)","run_id":"([^"]*)","text":"([^"]{6})')


def template() -> list[bytes]:
    """One run's frames, with %b for thread, run and marker and %d for the number."""
    frames = []
    mark = "MARKER"
    values = {
        "TOOL_CALL_ARGS": f',"delta":"{{\\"query\\":\\"{mark}\\"}}"',
        "TOOL_CALL_RESULT": f',"content":"{workload.tool_answer(mark)}"',
    }
    deltas = iter(workload.deltas(mark))
    for kind in workload.EVENT_TYPES:
        value = values.get(kind, "")
        if kind.startswith("TEXT_MESSAGE"):
            value = ',"messageId":"msg_0123456789ab"' + (f',"delta":"{next(deltas)}"' if "CONTENT" in kind else "")
        frames.append(f'{{"thread_id":"THREAD","run_id":"RUN","seq":%d,"event":{{"type":"{kind}"{value}}}}}'.encode())
    return frames


class Connection(WSListener):
    def __init__(self, messages: list[bytes], counts: list[int], delay: float) -> None:
        self._delay = delay
        self._messages = messages
        self._counts = counts
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
        reply = b'{"re":%b,"ok":true,"thread_id":"%b","run_id":"%b","epoch":"e","seq":%d}'
        transport.send(WSMsgType.TEXT, reply % (command, thread, run, self._seq))
        for number, (message, count) in enumerate(zip(self._messages, self._counts, strict=True)):
            body = message.replace(b"MARKER", mark).replace(b"THREAD", thread).replace(b'RUN"', run + b'"')
            body = body % tuple(range(self._seq + 1, self._seq + count + 1))
            self._seq += count
            if self._delay and number:
                asyncio.get_running_loop().call_later(number * self._delay, transport.send, WSMsgType.TEXT, body)
            else:
                transport.send(WSMsgType.TEXT, body)


async def serve(port: int, together: int, delay: float) -> None:
    frames = template()
    parts = [frames[start : start + together] for start in range(0, len(frames), together)]
    messages, counts = [b"\n".join(part) for part in parts], [len(part) for part in parts]

    def accept(request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if request.path.startswith(b"/livez"):
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(b"ok"), None)
        return Connection(messages, counts, delay)

    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=0)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, options.together, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
