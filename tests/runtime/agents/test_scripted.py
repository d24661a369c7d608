"""The scripted agent does what its program says; its manual's examples are played here too."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from pathlib import Path
from typing import Any, get_args

import pytest

from goldenpath.clock import ManualClock
from goldenpath.runtime.agents import program as p
from goldenpath.wire import events as ev
from goldenpath.wire.messages import ResumeEntry, ToolMessage
from tests.runtime.agents.stage import ALICE, GRACE, Played, Stage, opened_stage, user_input
from tests.runtime.runs import until

MANUAL = Path(__file__).parents[3] / "docs/agents/scripted.md"
EXAMPLES = re.findall(r"```json\n(.*?)```", MANUAL.read_text(), re.DOTALL)


async def play(stage: Stage, *steps: dict[str, Any], then: list[dict[str, Any]] | None = None, **fields: Any) -> Played:
    """Play a program of these steps."""
    program: dict[str, Any] = {"steps": list(steps)}
    if then is not None:
        program["then"] = then
    if "seed" in fields:
        program["seed"] = fields.pop("seed")
    return await stage.play("scripted", json.dumps(program), **fields)


# --- the manual -------------------------------------------------------------------------------------------------------


def test_the_manual_has_every_step_with_all_its_fields_and_no_others() -> None:
    table = MANUAL.read_text().split("## Steps")[1].split("## Bounds")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    described = {word: set(re.findall(r"`(\w+)`", fields)) for word, fields in rows if word != "do"}
    kinds = {str(kind.__struct_config__.tag): set(kind.__struct_fields__) for kind in get_args(p.Step)}
    assert described == kinds


def test_the_manual_has_the_true_bounds() -> None:
    bounds = MANUAL.read_text().split("## Bounds")[1].split("## Examples")[0]
    for bound in (p.MAX_DEPTH, p.MAX_STEPS, p.MAX_BRANCHES, p.MAX_DELTAS, p.MAX_SIZE, p.MAX_WAIT, p.MAX_BLOCK):
        assert f"{bound:,}" in bounds


@pytest.mark.parametrize("example", EXAMPLES)
async def test_every_example_of_the_manual_is_a_program_that_ends(tmp_path: Path, example: str) -> None:
    p.parse(example)
    hurried = example.replace("100000", "1000").replace('"ms": 5000', '"ms": 5').replace('"ms": 3000', '"ms": 3')
    async with opened_stage(tmp_path) as stage:
        played = await stage.play("scripted", hurried)
    assert isinstance(played[-1], ev.RunFinished | ev.RunError)
    if '"error"' not in example and "2000000" not in example:
        assert played.finished.outcome is not None


# --- saying -----------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_no_program_ends_the_run_with_bad_request(stage: Stage) -> None:
    played = await stage.play("scripted", "hello")
    assert (played.error.code, played.kinds) == ("bad_request", ["RUN_STARTED", "RUN_ERROR"])


async def test_say_cuts_its_text(stage: Stage) -> None:
    played = await play(stage, {"do": "say", "text": "Hello, world", "size": 5})
    assert played.deltas == ["Hello", ", wor", "ld"]


async def test_deltas_are_cut_from_an_endless_repetition(stage: Stage) -> None:
    played = await play(stage, {"do": "deltas", "count": 4, "size": 5, "fill": "abcdefg"})
    assert played.deltas == ["abcde", "fgabc", "defga", "bcdef"]


async def test_deltas_of_random_size_still_join_to_the_repetition(stage: Stage) -> None:
    played = await play(stage, {"do": "deltas", "count": 50, "size": [1, 40], "fill": "0123456789"})
    assert len(played.deltas) == 50
    assert len({len(delta) for delta in played.deltas}) > 1
    assert played.text == ("0123456789" * 200)[: len(played.text)]


async def test_a_flood_arrives_complete(stage: Stage) -> None:
    played = await play(stage, {"do": "deltas", "count": 20_000, "size": 3, "fill": "xyz"})
    assert played.deltas == ["xyz"] * 20_000


async def test_a_delta_over_the_servers_limit_ends_the_run_with_payload_too_large(stage: Stage) -> None:
    played = await play(stage, {"do": "deltas", "count": 1, "size": 2_000_000})
    assert played.error.code == "payload_too_large"
    assert played.kinds == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "RUN_ERROR"]


async def test_delays_are_waited_before_each_delta(stage: Stage) -> None:
    started = time.monotonic()
    await play(stage, {"do": "deltas", "count": 3, "delay_ms": 20}, {"do": "sleep", "ms": 20})
    assert time.monotonic() - started >= 0.08


async def test_reasoning_is_shown_as_reasoning(stage: Stage) -> None:
    played = await play(stage, {"do": "reason", "text": "hmm"})
    assert played.kinds[1:-1] == [
        "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END",
        "REASONING_END",
    ]  # fmt: skip


async def test_a_tool_call_has_its_arguments_and_its_result(stage: Stage) -> None:
    played = await play(
        stage, {"do": "tool", "name": "sum", "args": {"a": [1, 2, 3]}, "result": {"total": 6}, "size": 4}
    )
    (start,) = played.of(ev.ToolCallStart)
    (result,) = played.of(ev.ToolCallResult)
    assert start.tool_call_name == "sum"
    assert [event.delta for event in played.of(ev.ToolCallArgs)] == ['{"a"', ":[1,", "2,3]", "}"]
    assert (result.tool_call_id, result.content) == (start.tool_call_id, '{"total":6}')


async def test_a_result_that_is_text_stays_as_it_is(stage: Stage) -> None:
    played = await play(stage, {"do": "tool", "name": "f", "result": "3 hits"})
    assert played.of(ev.ToolCallResult)[0].content == "3 hits"


async def test_state_steps_and_events_of_every_kind(stage: Stage) -> None:
    activity = {"type": "ACTIVITY_SNAPSHOT", "messageId": "a", "activityType": "plan", "content": {"n": 1}}
    played = await play(
        stage,
        {"do": "state", "snapshot": {"n": 0}},
        {
            "do": "step",
            "name": "work",
            "steps": [{"do": "state_delta", "delta": [{"op": "replace", "path": "/n", "value": 1}]}],
        },
        {"do": "custom", "name": "app.x", "value": [1]},
        {"do": "emit", "event": activity},
    )
    assert played.kinds[1:-1] == [
        "STATE_SNAPSHOT", "STEP_STARTED", "STATE_DELTA", "STEP_FINISHED", "CUSTOM", "ACTIVITY_SNAPSHOT",
    ]  # fmt: skip
    assert json.loads(ev.encode(played[-2])) == activity


async def test_token_counts_are_in_the_terminal_event(stage: Stage) -> None:
    tokens = {"model": "m-1", "inputTokens": 12}
    played = await play(stage, {"do": "usage", "tokens": tokens}, {"do": "usage", "tokens": {"outputTokens": 3}})
    assert played.finished.usage == [tokens, {"outputTokens": 3}]


async def test_an_event_out_of_order_is_the_agents_fault(stage: Stage) -> None:
    played = await play(stage, {"do": "emit", "event": {"type": "TEXT_MESSAGE_END", "messageId": "none"}})
    assert played.error.code == "agent_error"


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_a_returned_value_is_the_runs_result_and_ends_the_program(stage: Stage) -> None:
    played = await play(
        stage,
        {"do": "step", "name": "s", "steps": [{"do": "return", "value": {"n": 1}}, {"do": "say", "text": "no"}]},
        {"do": "say", "text": "no"},
    )
    assert (played.finished.result, played.text) == ({"n": 1}, "")


async def test_a_return_leaves_a_repetition(stage: Stage) -> None:
    played = await play(
        stage, {"do": "repeat", "times": 5, "steps": [{"do": "say", "text": "x"}, {"do": "return", "value": 7}]}
    )
    assert (played.finished.result, played.text) == (7, "x")


async def test_an_error_without_a_code_is_the_agents_fault_and_its_text_is_not_shown(stage: Stage) -> None:
    played = await play(stage, {"do": "say", "text": "so far"}, {"do": "error", "message": "secret detail"})
    assert played.error.code == "agent_error"
    assert "secret detail" not in played.error.message
    assert played.text == "so far"


async def test_an_error_with_a_code_is_that_error(stage: Stage) -> None:
    played = await play(stage, {"do": "error", "code": "upstream_unavailable", "message": "the search is down"})
    assert (played.error.code, played.error.message) == ("upstream_unavailable", "the search is down")


async def test_an_interrupt_asks_and_the_next_run_shows_the_answer(stage: Stage) -> None:
    program = {
        "steps": [{"do": "interrupt", "reason": "confirmation", "message": "Send it?", "id": "q-1"}],
        "then": [{"do": "echo", "what": "answers"}],
    }
    asked = await stage.play("scripted", json.dumps(program), thread_id="t")
    assert asked.finished.outcome == ev.InterruptOutcome(
        [ev.Interrupt(id="q-1", reason="confirmation", message="Send it?")]
    )
    resume = [ResumeEntry("q-1", "resolved", payload={"yes": True})]
    answered = await stage.play("scripted", thread_id="t", resume=resume)
    assert json.loads(answered.text) == [{"interrupt_id": "q-1", "status": "resolved", "payload": {"yes": True}}]


async def test_without_then_the_answers_are_shown(stage: Stage) -> None:
    await play(stage, {"do": "interrupt", "reason": "r", "id": "q-1"}, thread_id="t")
    answered = await stage.play("scripted", thread_id="t", resume=[ResumeEntry("q-1", "cancelled")])
    assert json.loads(answered.text) == [{"interrupt_id": "q-1", "status": "cancelled", "payload": None}]


async def test_a_pending_tool_call_is_the_clients_to_answer(stage: Stage) -> None:
    asked = await play(
        stage,
        {"do": "tool", "name": "pick", "pending": True},
        then=[{"do": "say", "text": "you chose "}, {"do": "echo", "what": "answers"}],
        thread_id="t",
    )
    (call,) = asked.of(ev.ToolCallStart)
    assert asked.finished.outcome == ev.SuccessOutcome([call.tool_call_id])
    assert asked.of(ev.ToolCallResult) == []
    answer = ToolMessage(id="m", tool_call_id=call.tool_call_id, content="red")
    answered = await stage.play("scripted", answer, thread_id="t")
    assert answered.text.startswith("you chose ")
    assert json.loads(answered.text.removeprefix("you chose ")) == [
        {"tool_call_id": call.tool_call_id, "content": "red"}
    ]


# --- many things at once ----------------------------------------------------------------------------------------------


async def test_branches_run_at_the_same_time_and_all_arrive(stage: Stage) -> None:
    branches = [[{"do": "deltas", "count": 20, "size": 1, "delay_ms": 1, "fill": letter}] for letter in "abc"]
    played = await play(stage, {"do": "parallel", "branches": branches}, {"do": "say", "text": "!"})
    assert sorted(played.text) == sorted("abc" * 20 + "!")
    assert played.text.endswith("!")
    assert played.text[:20] != "a" * 20


async def test_branches_that_are_not_waited_for_still_belong_to_the_run(stage: Stage) -> None:
    branch = [{"do": "sleep", "ms": 30}, {"do": "say", "text": "late"}]
    played = await play(stage, {"do": "parallel", "branches": [branch], "wait": False}, {"do": "say", "text": "soon "})
    assert played.text == "soon late"
    assert played.finished.outcome == ev.SuccessOutcome()


async def test_a_branch_that_fails_ends_the_run_with_its_own_error(stage: Stage) -> None:
    failing = [{"do": "error", "code": "quota_exceeded", "message": "no more"}]
    played = await play(stage, {"do": "parallel", "branches": [[{"do": "sleep", "ms": 5000}], failing]})
    assert (played.error.code, played.error.message) == ("quota_exceeded", "no more")


async def test_the_same_seed_gives_the_same_run(stage: Stage) -> None:
    steps: list[dict[str, Any]] = [
        {"do": "deltas", "count": [5, 30], "size": [1, 9]},
        {"do": "choose", "of": [[{"do": "say", "text": str(number)}] for number in range(100)]},
        {"do": "parallel", "branches": [[{"do": "deltas", "count": [1, 99], "fill": "x", "delay_ms": [0, 1]}]] * 2},
    ]
    first, second, other = [await play(stage, *steps, seed=seed) for seed in ("a", "a", "b")]
    assert sorted(first.deltas) == sorted(second.deltas) != sorted(other.deltas)


async def test_without_a_seed_each_run_differs(stage: Stage) -> None:
    steps = {"do": "deltas", "count": 30, "size": [1, 9]}
    assert (await play(stage, steps)).deltas != (await play(stage, steps)).deltas


# --- what an agent sees -----------------------------------------------------------------------------------------------


async def test_echo_shows_whom_the_agent_works_for(stage: Stage) -> None:
    played = await play(stage, {"do": "echo"}, thread_id="t")
    shown = json.loads(played.text)
    assert shown["run_id"] == played.finished.run_id
    del shown["run_id"]
    assert shown == {
        "user_id": ALICE.user_id,
        "email": ALICE.email,
        "permissions": ["chat"],
        "tier": "free",
        "thread_id": "t",
        "request_id": "request-1",
        "messages": 1,
    }


async def test_echo_shows_the_input_and_the_messages(stage: Stage) -> None:
    program = json.dumps({"steps": [{"do": "echo", "what": "input"}, {"do": "echo", "what": "messages"}]})
    played = await stage.play("scripted", program, state={"n": 1}, forwarded_props={"theme": "dark"})
    texts = {start.message_id: "" for start in played.of(ev.TextMessageStart)}
    for content in played.of(ev.TextMessageContent):
        texts[content.message_id] += content.delta
    shown_input, shown_messages = (json.loads(text) for text in texts.values())
    assert (shown_input["state"], shown_input["forwardedProps"]) == ({"n": 1}, {"theme": "dark"})
    assert shown_messages[0]["content"] == program


# --- misbehaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "stops"), [("thread", False), ("loop", True)])
async def test_blocking_stops_the_loop_only_where_it_is_asked_to(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str, stops: bool
) -> None:
    blocked: list[tuple[float, bool]] = []
    loop_thread = threading.get_ident()

    def block(seconds: float) -> None:
        blocked.append((seconds, threading.get_ident() == loop_thread))

    monkeypatch.setattr(time, "sleep", block)
    await play(stage, {"do": "block", "ms": 400, "where": where})
    assert blocked == [(0.4, stops)]


async def test_a_run_that_ignores_its_cancel_is_ended_without_it(tmp_path: Path) -> None:
    program = json.dumps(
        {"steps": [{"do": "say", "text": "started"}, {"do": "ignore_cancel", "ms": 700}, {"do": "say", "text": "late"}]}
    )
    clock = ManualClock()
    async with asyncio.timeout(10), opened_stage(tmp_path, clock, commit_interval=0) as stage:
        async with stage.playing("scripted", "t", user_input(program)) as events:
            played = Played()
            async for event in events:
                played.append(event)
                if isinstance(event, ev.TextMessageEnd):
                    await stage.cancel("t")
                    clock.advance(GRACE)
        assert played.finished.outcome == ev.CancelledOutcome()
        assert played.text == "started"
        assert stage.server.scheduler.engines.statistics().active == 1  # the agent itself goes on
        clock.advance(0.7 - GRACE)
        await until(lambda: not stage.server.scheduler.engines.statistics().active)
