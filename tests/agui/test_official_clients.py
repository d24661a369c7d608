"""The official AG-UI clients, 1.0 and 0.x, on a real server: whatever a run does, they take it without complaint."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.agui.official_client import HERE, OfficialClient, Result, Version
from tests.serverprocess import ServerProcess

pytestmark = pytest.mark.node

MANUAL = HERE.parents[1] / "docs/howto/ag-ui.md"

Connect = Callable[..., OfficialClient]


def program(*steps: dict[str, Any], **more: Any) -> str:
    return json.dumps({"steps": steps, **more})


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert {
        package["version"] for name, package in lock["packages"].items() if name.startswith("node_modules/agui")
    } == {
        "1.0.0",
        "0.0.59",
    }


def history(user: httpx.Client, client: OfficialClient) -> list[dict[str, Any]]:
    answer = user.get(f"/v1/threads/{client.thread_id}/messages")
    assert answer.status_code == 200
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def assert_same_history(user: httpx.Client, client: OfficialClient, result: Result) -> None:
    """Client and server hold the same conversation: what the client sends next adds nothing twice."""
    assert history(user, client) == result.messages


def test_text(connect: Connect, user: httpx.Client) -> None:
    client = connect("echo")
    first = client.run("Hello, wörld 👋").assert_clean()
    assert first.end["end"] == "finished"
    assert first.end["outcome"] == "success"
    assert first.types == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip
    assert [message["content"] for message in first.messages] == ["Hello, wörld 👋"] * 2
    second = client.run("again").assert_clean()
    assert [message["content"] for message in second.messages] == ["Hello, wörld 👋"] * 2 + ["again"] * 2
    assert_same_history(user, client, second)


def test_the_manuals_example_prints_the_answer(
    npm_packages: None, server: ServerProcess, user: httpx.Client, version: Version
) -> None:
    (example,) = re.findall(r"```js\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    example = example.replace('"@ag-ui/client"', f'"{version}"').replace("http://127.0.0.1:8700", server.url)
    example = example.replace("my-thread", f"manual-{version}")
    token = json.dumps(user.headers["Authorization"].removeprefix("Bearer "))
    program = f"const accessToken = {token};\n{example}"
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("hello\n", 0), done.stderr


def test_a_result(connect: Connect) -> None:
    result = connect().run(program({"do": "return", "value": {"n": [1, None]}})).assert_clean()
    assert result.result == {"n": [1, None]}


def test_a_tool_call_with_its_result(connect: Connect, user: httpx.Client) -> None:
    client = connect()
    tool = {"do": "tool", "name": "sum", "args": {"a": [1, 2]}, "result": {"total": 3}, "size": 4}
    result = client.run(program(tool, {"do": "say", "text": "It is 3."})).assert_clean()
    assert result.end["outcome"] == "success"
    _, calling, answer, said = result.messages
    (call,) = calling["toolCalls"]
    assert call["function"] == {"name": "sum", "arguments": '{"a":[1,2]}'}
    assert (answer["toolCallId"], answer["content"]) == (call["id"], '{"total":3}')
    assert said["content"] == "It is 3."
    assert_same_history(user, client, result)


def test_a_front_end_tool_that_the_client_answers(connect: Connect, user: httpx.Client, version: Version) -> None:
    client = connect()
    asks = program(
        {"do": "say", "text": "Which colour?"},
        {"do": "tool", "name": "pick", "pending": True},
        then=[{"do": "echo", "what": "answers"}],
    )
    tools = [{"name": "pick", "description": "", "parameters": {"type": "object", "properties": {}}}]
    asked = client.run(asks, tools=tools).assert_clean()
    (start,) = asked.of("TOOL_CALL_START")
    assert asked.end["outcome"] == "success"
    if version == "agui1":
        assert asked.end["pendingToolCallIds"] == [start["toolCallId"]]
    client.add({"id": "answer", "role": "tool", "toolCallId": start["toolCallId"], "content": "red"})
    answered = client.run(tools=tools).assert_clean()
    shown = json.loads(answered.messages[-1]["content"])
    assert shown == [{"tool_call_id": start["toolCallId"], "content": "red"}]
    assert_same_history(user, client, answered)


@pytest.mark.parametrize(("status", "payload"), [("resolved", {"yes": True}), ("cancelled", None)])
def test_an_interrupt_and_its_answer(connect: Connect, user: httpx.Client, status: str, payload: Any) -> None:
    client = connect()
    asks = program(
        {"do": "say", "text": "A moment."},
        {
            "do": "interrupt",
            "reason": "confirmation",
            "message": "Send it?",
            "response_schema": {"type": "object"},
            "metadata": {"letter": None},
            "id": "question-1",
        },
        then=[{"do": "echo", "what": "answers"}, {"do": "return", "value": "done"}],
    )
    asked = client.run(asks).assert_clean()
    assert asked.end["outcome"] == "interrupt"
    assert asked.pending_interrupts == [
        {
            "id": "question-1",
            "reason": "confirmation",
            "message": "Send it?",
            "responseSchema": {"type": "object"},
            "metadata": {"letter": None},
        }
    ]
    answered = client.resume(status, payload).assert_clean()
    assert answered.pending_interrupts == []
    assert answered.result == "done"
    shown = json.loads(answered.messages[-1]["content"])
    assert shown == [{"interrupt_id": "question-1", "status": status, "payload": payload}]
    assert_same_history(user, client, answered)


def test_reasoning_state_steps_activities_and_custom_events(connect: Connect, user: httpx.Client) -> None:
    client = connect()
    activity = {"type": "ACTIVITY_SNAPSHOT", "messageId": "plan", "activityType": "plan", "content": {"n": 1}}
    grown = {
        "type": "ACTIVITY_DELTA",
        "messageId": "plan",
        "activityType": "plan",
        "patch": [{"op": "replace", "path": "/n", "value": 2}],
    }
    result = client.run(
        program(
            {"do": "reason", "text": "Let me think about this."},
            {"do": "state", "snapshot": {"done": 0, "nothing": None}},
            {
                "do": "step",
                "name": "work",
                "steps": [
                    {"do": "state_delta", "delta": [{"op": "replace", "path": "/done", "value": 1}]},
                    {"do": "custom", "name": "app.progress", "value": None},
                    {"do": "emit", "event": {"type": "RAW", "event": {"any": "thing"}, "source": "test"}},
                ],
            },
            {"do": "usage", "tokens": {"model": "m-1", "inputTokens": 12, "outputTokens": 30}},
            {"do": "emit", "event": activity},
            {"do": "emit", "event": grown},
            {"do": "say", "text": "Done."},
        ),
        context=[{"description": "page", "value": "/cart"}],
        forwardedProps={"theme": "dark"},
    ).assert_clean()
    assert result.of("RUN_FINISHED")[0]["usage"] == [{"model": "m-1", "inputTokens": 12, "outputTokens": 30}]
    assert result.state == {"done": 1, "nothing": None}
    assert [message["role"] for message in result.messages] == ["user", "reasoning", "activity", "assistant"]
    assert result.messages[2]["content"] == {"n": 2}
    assert_same_history(user, client, result)
    again = client.run(program({"do": "echo", "what": "input"})).assert_clean()
    assert json.loads(again.messages[-1]["content"])["state"] == {"done": 1, "nothing": None}
    assert_same_history(user, client, again)


def test_messages_that_stream_side_by_side(connect: Connect, user: httpx.Client) -> None:
    client = connect()
    branches = [[{"do": "deltas", "count": 10, "size": 2, "delay_ms": 1, "fill": letter}] for letter in "abc"]
    result = client.run(program({"do": "parallel", "branches": branches})).assert_clean()
    assert sorted(message["content"] for message in result.messages[1:]) == ["a" * 20, "b" * 20, "c" * 20]
    assert_same_history(user, client, result)


def test_a_cancel_in_the_middle_of_everything(connect: Connect, user: httpx.Client, version: Version) -> None:
    client = connect()
    open_ended = program(
        {
            "do": "step",
            "name": "work",
            "steps": [
                {
                    "do": "parallel",
                    "branches": [
                        [{"do": "deltas", "count": 1000, "delay_ms": 20}],
                        [{"do": "reason", "text": "hmm " * 100, "delay_ms": 20}],
                    ],
                }
            ],
        }
    )
    client.prepare_cancel("run-1")
    at = {"type": "TEXT_MESSAGE_CONTENT", "count": 3, "do": "cancel"}
    result = client.run(open_ended, at=at, runId="run-1").assert_clean()
    assert result.cancel_status == 202
    if version == "agui1":
        assert result.end["outcome"] == "cancelled"
    else:
        assert (result.end["end"], result.end["code"]) == ("error", "cancelled")
    assert 3 <= len(result.of("TEXT_MESSAGE_CONTENT")) < 1000
    assert_same_history(user, client, result)
    assert user.get(f"/v1/threads/{client.thread_id}/runs/run-1").json()["status"] == "cancelled"
    client.run(program({"do": "say", "text": "next"})).assert_clean()


def test_a_run_that_is_cancelled_in_the_queue(connect: Connect, user: httpx.Client, version: Version) -> None:
    client = connect()
    other = connect(thread_id=client.thread_id)
    done: list[Result] = []
    long = threading.Thread(
        target=lambda: done.append(client.run(program({"do": "deltas", "count": 200, "delay_ms": 10}), runId="long"))
    )
    long.start()
    wait_for_status(user, client.thread_id, "long", "running")
    waiting = threading.Thread(target=lambda: done.append(other.run(program({"do": "say", "text": "x"}), runId="next")))
    waiting.start()
    wait_for_status(user, client.thread_id, "next", "queued")
    assert user.post(f"/v1/threads/{client.thread_id}/runs/next/cancel").status_code == 202
    assert user.post(f"/v1/threads/{client.thread_id}/runs/long/cancel").status_code == 202
    for thread in (long, waiting):
        thread.join(30)
    queued = next(result for result in done if result.events[0]["runId"] == "next")
    queued.assert_clean()
    assert queued.types == ["RUN_STARTED", "RUN_FINISHED" if version == "agui1" else "RUN_ERROR"]


def wait_for_status(user: httpx.Client, thread_id: str, run_id: str, status: str) -> None:
    """Ask until the run has the status."""
    deadline = time.monotonic() + 20
    while True:
        answer = user.get(f"/v1/threads/{thread_id}/runs/{run_id}")
        if answer.status_code == 200 and answer.json()["status"] == status:
            return
        assert time.monotonic() < deadline, f"{run_id} never was {status}: {answer.text}"


def test_a_client_that_leaves_does_not_stop_the_run(connect: Connect, user: httpx.Client) -> None:
    client = connect()
    # The pause keeps the run going while the client leaves. When an abort meets a response whose end has arrived
    # already, both clients wait for ever, whatever the server.
    goes_on = program({"do": "deltas", "count": 5}, {"do": "sleep", "ms": 2000}, {"do": "deltas", "count": 20})
    at = {"type": "TEXT_MESSAGE_CONTENT", "count": 2, "do": "abort"}
    left = client.run(goes_on, at=at, runId="run-1")
    assert left.rejected is None
    assert (left.end["end"], left.end["code"]) == ("error", "abort")
    wait_for_status(user, client.thread_id, "run-1", "finished")
    assert [len(message["content"]) for message in history(user, client)[1:]] == [5 * 8, 20 * 8]


def test_the_same_run_id_again_replays_the_run(connect: Connect) -> None:
    client = connect()
    first = client.run(program({"do": "tool", "name": "f"}, {"do": "say", "text": "once"}), runId="run-1")
    again = connect(thread_id=client.thread_id).run("anything", runId="run-1").assert_clean()
    assert again.events == first.assert_clean().events


def test_an_error_of_the_agent(connect: Connect, user: httpx.Client) -> None:
    client = connect()
    fails = program(
        {"do": "say", "text": "So far so good."},
        {"do": "error", "code": "upstream_unavailable", "message": "the search is down"},
    )
    result = client.run(fails)
    assert result.end == {"end": "error", "code": "upstream_unavailable", "message": "the search is down"}
    assert result.warnings == []
    assert_same_history(user, client, result)
    client.run(program({"do": "say", "text": "next"})).assert_clean()


def test_an_agent_that_does_not_exist(connect: Connect) -> None:
    result = connect("no-such-agent").run("hello")
    assert result.rejected is not None
    assert "404" in result.rejected
    assert "unknown_agent" in result.rejected
