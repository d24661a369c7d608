"""An independent validator finds nothing in what `POST /v1/agents/{agent}/run` streams, in 1.0 and in 0.x."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ag_ui_validate import create_validator

from goldenpath.wire import events as ev

UNIMPORTANT = {
    "AGUI902",  # timestamps are optional, and every event would be longer by them
}

PROGRAMS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "text": [{"do": "say", "text": "Grüße, 世界"}],
    "deltas": [{"do": "deltas", "count": 300, "size": [1, 50]}],
    "a tool": [{"do": "tool", "name": "f", "args": {"a": [1, "ü"]}, "result": {"n": 1}}, {"do": "say", "text": "x"}],
    "a front-end tool": [{"do": "tool", "name": "pick", "pending": True}],
    "reasoning": [{"do": "reason", "text": "hmm"}, {"do": "say", "text": "x"}],
    "steps": [{"do": "step", "name": "outer", "steps": [{"do": "step", "name": "inner", "steps": []}]}],
    "state": [
        {"do": "state", "snapshot": {"n": None}},
        {"do": "state_delta", "delta": [{"op": "add", "path": "/m", "value": [1]}]},
    ],
    "custom": [{"do": "custom", "name": "app.x", "value": None}],
    "token counts": [{"do": "usage", "tokens": {"model": "m", "inputTokens": 1}}, {"do": "usage", "tokens": {}}],
    "token counts of a failed run": [
        {"do": "usage", "tokens": {"model": "m", "inputTokens": 1}},
        {"do": "error", "code": "timeout", "message": "too slow"},
    ],
    "an activity": [
        {"do": "emit", "event": {"type": "ACTIVITY_SNAPSHOT", "messageId": "a", "activityType": "p", "content": {}}},
    ],
    "a subagent": [
        {"do": "emit", "event": {"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "helper"}},
        {"do": "emit", "event": {"type": "SUBAGENT_FINISHED", "subagentRunId": "s"}},
    ],
    "an interrupt": [{"do": "say", "text": "?"}, {"do": "interrupt", "reason": "confirmation", "message": "Sure?"}],
    "a result": [{"do": "return", "value": {"n": 1}}],
    "an error": [{"do": "say", "text": "x"}, {"do": "error", "code": "timeout", "message": "too slow"}],
    "an error with everything open": [
        {
            "do": "step",
            "name": "s",
            "steps": [
                {
                    "do": "parallel",
                    "branches": [
                        [{"do": "deltas", "count": 100, "delay_ms": 5}],
                        [{"do": "reason", "text": "hmm" * 100, "delay_ms": 5}],
                        [{"do": "sleep", "ms": 50}, {"do": "error", "code": "internal", "message": "x"}],
                    ],
                }
            ],
        }
    ],
    "branches": [{"do": "parallel", "branches": [[{"do": "say", "text": "abc" * 20}]] * 5}],
    "a delta that is too large": [{"do": "deltas", "count": 1, "size": 2_000_000}],
}


@pytest.fixture(params=["1.0", None], ids=["1.0", "0.x"])
def protocol_version(request: pytest.FixtureRequest) -> str | None:
    """What the client says it speaks."""
    version: str | None = request.param
    return version


class Recorder:
    """Runs programs and keeps the streams."""

    def __init__(self, user: httpx.Client, thread_id: str, protocol_version: str | None) -> None:
        self._user = user
        self.thread_id = thread_id
        self._version = protocol_version

    def record(self, run_id: str, *steps: dict[str, Any], **fields: Any) -> str:
        """The stream of a run of these steps, as it came over the wire."""
        message = {"id": f"user-{run_id}", "role": "user", "content": json.dumps({"steps": steps})}
        body = {
            "threadId": self.thread_id,
            "runId": run_id,
            "messages": [message],
            "tools": [],
            "context": [],
            **fields,
        }
        if self._version is not None:
            body["protocolVersion"] = self._version
        answer = self._user.post("/v1/agents/scripted/run", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return answer.text

    def cancel(self, run_id: str) -> None:
        assert self._user.post(f"/v1/threads/{self.thread_id}/runs/{run_id}/cancel").status_code == 202

    def wait(self, run_id: str, status: str) -> None:
        deadline = time.monotonic() + 20
        while True:
            answer = self._user.get(f"/v1/threads/{self.thread_id}/runs/{run_id}")
            if answer.status_code == 200 and answer.json()["status"] == status:
                return
            assert time.monotonic() < deadline, f"{run_id} never was {status}"


@pytest.fixture
def recorder(user: httpx.Client, thread_ids: Iterator[str], protocol_version: str | None) -> Recorder:
    return Recorder(user, next(thread_ids), protocol_version)


def events_of(stream: str) -> list[dict[str, Any]]:
    """The events of a recorded stream, which must be framed as docs/protocol.md says."""
    assert "\r" not in stream
    events = []
    positions = []
    for message in stream.removesuffix("\n\n").split("\n\n"):
        position, data = message.split("\n")
        positions.append(int(position.removeprefix("id: ").rpartition(".")[2]))
        events.append(json.loads(data.removeprefix("data: ")))
    assert positions == sorted(set(positions))
    return events


def assert_nothing_found(stream: str) -> list[dict[str, Any]]:
    """The validator finds nothing, and the events are those that our own types describe. Returns them."""
    events = events_of(stream)
    validator = create_validator()
    for event in events:
        validator.feed(event)
    validator.finalize()
    report = validator.report()
    found = [(finding.rule, finding.message) for finding in report.diagnostics if finding.rule not in UNIMPORTANT]
    assert found == []
    for event in events:
        assert json.loads(ev.encode(ev.decode_event(json.dumps(event)))) == event
    return events


@pytest.mark.parametrize("steps", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_every_kind_of_run_is_a_valid_stream(recorder: Recorder, steps: list[dict[str, Any]]) -> None:
    events = assert_nothing_found(recorder.record("run-1", *steps))
    assert events[0]["type"] == "RUN_STARTED"
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")


def test_the_answer_to_an_interrupt(recorder: Recorder) -> None:
    recorder.record("run-1", {"do": "interrupt", "reason": "confirmation", "id": "question-1"})
    resume = [{"interruptId": "question-1", "status": "resolved", "payload": {"yes": True}}]
    events = assert_nothing_found(recorder.record("run-2", resume=resume))
    assert "question-1" in "".join(event.get("delta", "") for event in events)


def test_a_cancelled_run(recorder: Recorder, protocol_version: str | None) -> None:
    streams: list[str] = []
    steps = {"do": "step", "name": "s", "steps": [{"do": "deltas", "count": 1000, "delay_ms": 10}]}
    running = threading.Thread(target=lambda: streams.append(recorder.record("run-1", steps)))
    running.start()
    recorder.wait("run-1", "running")
    recorder.cancel("run-1")
    running.join(30)
    last = assert_nothing_found(streams[0])[-1]
    if protocol_version is None:
        assert (last["type"], last["code"]) == ("RUN_ERROR", "cancelled")
    else:
        assert last["outcome"] == {"type": "cancelled"}


def test_a_run_that_was_cancelled_in_the_queue(recorder: Recorder) -> None:
    streams: dict[str, str] = {}

    def record(run_id: str, steps: dict[str, Any]) -> threading.Thread:
        thread = threading.Thread(target=lambda: streams.update({run_id: recorder.record(run_id, steps)}))
        thread.start()
        return thread

    long = record("long", {"do": "deltas", "count": 1000, "delay_ms": 10})
    recorder.wait("long", "running")
    queued = record("queued", {"do": "say", "text": "x"})
    recorder.wait("queued", "queued")
    recorder.cancel("queued")
    recorder.cancel("long")
    for thread in (long, queued):
        thread.join(30)
    assert assert_nothing_found(streams["queued"])[0]["type"] == "RUN_STARTED"
    assert len(events_of(streams["queued"])) == 2


def test_the_validator_finds_faults_where_there_are_some(recorder: Recorder) -> None:
    stream = recorder.record("run-1", {"do": "say", "text": "abc"})
    without_end = "\n\n".join(part for part in stream.split("\n\n") if "TEXT_MESSAGE_END" not in part)
    with pytest.raises(AssertionError):
        assert_nothing_found(without_end)
