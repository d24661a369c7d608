"""The client and a real server: nothing is lost, repeated or reordered, whatever happens between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from goldenpath.client import (
    Backoff,
    Client,
    ConnectionLost,
    Cursor,
    Delivery,
    LinkSettings,
    RequestError,
    ThreadDetached,
)
from goldenpath.wire import events as ev
from goldenpath.wire.messages import AssistantMessage, UserMessage
from goldenpath.wire.transcript import Transcript
from tests.client.cutting_proxy import CuttingProxy
from tests.serverprocess import SIMULATION_KEY, ServerProcess

QUICK = LinkSettings(backoff=Backoff(base=0.001, cap=0.02), reconnect_for=30)
StartServer = Callable[..., ServerProcess]


@asynccontextmanager
async def simulated(url: str, email: str, **options: Any) -> AsyncIterator[Client]:
    async with asyncio.timeout(100), Client(url, **{"link": QUICK, **options}) as client:
        await client.api.simulate(email, SIMULATION_KEY)
        yield client


async def said(run: AsyncIterator[ev.Event]) -> str:
    """What the assistant said in a run, which must end well."""
    text = ""
    async for event in run:
        if isinstance(event, ev.TextMessageContent):
            text += event.delta
        assert not isinstance(event, ev.RunError), event
    return text


async def log_of(client: Client, thread_id: str) -> list[Delivery]:
    """The whole log of a thread, read anew, up to its present end."""
    head = (await client.api.thread(thread_id)).head
    async with await client.attach(thread_id, after=Cursor(seq=0)) as stream:
        return [await anext(stream) for _ in range(head)]


def program(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": steps})


def assert_kept_the_protocol(client: Client) -> None:
    statistics = client.statistics()
    found = (statistics.gaps, statistics.duplicates, statistics.skipped, statistics.unfounded, statistics.stray)
    assert found == (0, 0, 0, 0, 0)


async def test_a_user_registers_chats_and_finds_the_conversation_again(server: ServerProcess) -> None:
    async with asyncio.timeout(60), Client(server.url, link=QUICK) as client:
        await client.api.register("ann@example.org", "correct horse battery")
        assert (await client.api.me()).email == "ann@example.org"
        assert "echo" in [agent.name for agent in await client.api.agents()]
        thread = client.thread("chat")
        transcript = Transcript()
        for text in ("hello", "how are you? \N{WAVING HAND SIGN}"):
            run = await thread.run("echo", text=text)
            async for event in run:
                transcript.apply(event)
        history = await thread.messages()
        assert [type(message) for message in history.messages] == [UserMessage, AssistantMessage] * 2
        assert history.messages == transcript.messages
        info = await thread.info()
        assert (info.head, info.epoch) == (history.cursor.seq, history.cursor.epoch)
        assert [page.thread_id for page in (await client.api.threads()).threads] == ["chat"]
    async with (
        asyncio.timeout(60),
        Client(server.url, email="ann@example.org", password="correct horse battery", link=QUICK) as client,
    ):
        assert (await client.thread("chat").messages()).messages == transcript.messages
        run = await client.run("echo", text="again", thread_id="chat", run_id=run.run_id)
        assert isinstance(await run.wait(), ev.RunFinished)
        with pytest.raises(RequestError) as caught:
            await client.api.login("ann@example.org", "wrong password")
        assert caught.value.code == "unauthorized"


async def test_two_hundred_cuts_lose_repeat_and_reorder_nothing(server: ServerProcess) -> None:
    async with (
        asyncio.timeout(100),
        CuttingProxy(server.port, cuts=200, longest=8000, seed=11) as proxy,
        simulated(server.url, "cuts@example.org") as direct,
        Client(proxy.url, token=direct.api.tokens.access, link=QUICK) as client,
    ):
        followed: dict[str, list[Delivery]] = {"a": [], "b": []}

        async def chat(thread: str) -> int:
            rounds = 0
            while not proxy.done.is_set() or rounds < 3:
                text = f"{thread} {rounds}: " + "all work and no play makes a dull log. " * 5
                assert await said(await client.run("echo", text=text, thread_id=thread)) == text
                rounds += 1
            return rounds

        async def follow(thread: str) -> None:
            async for delivery in await client.attach(thread, after=Cursor(seq=0)):
                followed[thread].append(delivery)

        for thread in followed:
            await (await client.run("echo", text="first", thread_id=thread)).wait()
        followers = [asyncio.create_task(follow(thread)) for thread in followed]
        rounds = await asyncio.gather(*(chat(thread) for thread in followed))
        for thread, count in zip(followed, rounds, strict=True):
            whole = await log_of(direct, thread)
            while len(followed[thread]) < len(whole):
                await asyncio.sleep(0)
            assert followed[thread] == whole
            assert [delivery.seq for delivery in whole] == list(range(1, len(whole) + 1))
            assert sum(isinstance(delivery.event, ev.RunStarted) for delivery in whole) == count + 1
        for follower in followers:
            follower.cancel()
        assert_kept_the_protocol(client)
        assert client.statistics().reconnects > 100


async def test_a_killed_server_that_comes_back_has_everything_that_was_seen(start_server: StartServer) -> None:
    server = start_server()
    async with simulated(server.url, "kill@example.org") as client:
        done = await client.run("echo", text="before", thread_id="t")
        await done.wait()
        stream = await client.attach("t", after=Cursor(seq=0))
        run = await client.run(
            "scripted", text=program({"do": "deltas", "count": 100_000, "delay_ms": 2}), thread_id="t"
        )
        queued = await client.run("echo", text="queued", thread_id="t")
        seen = [await anext(stream) for _ in range(100)]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        end = await run.wait()
        assert isinstance(end, ev.RunError)
        assert end.code == "run_interrupted"
        assert isinstance(await queued.wait(), ev.RunError)
        assert await said(await client.run("echo", text="after", thread_id="t")) == "after"
        whole = await log_of(client, "t")
        seen += [await anext(stream) for _ in range(len(whole) - len(seen))]
        assert seen == whole
        assert_kept_the_protocol(client)
        transcript = Transcript()
        for delivery in whole:
            transcript.apply(delivery.event)
        assert (await client.thread("t").messages()).messages == transcript.messages


async def test_a_restart_in_good_order_ends_runs_and_is_survived(start_server: StartServer) -> None:
    server = start_server(GOLDENPATH_DRAIN_TIMEOUT="0.2")
    async with simulated(server.url, "drain@example.org") as client:
        run = await client.run("scripted", text=program({"do": "sleep", "ms": 60_000}), thread_id="t")
        assert isinstance(await anext(run), ev.RunStarted)
        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.to_thread(server.start)
        end = await run.wait()
        assert isinstance(end, ev.RunError)
        assert end.code == "run_interrupted"
        assert_kept_the_protocol(client)


async def test_a_connection_outlives_many_short_tokens(start_server: StartServer) -> None:
    server = start_server(GOLDENPATH_ACCESS_TOKEN_TTL="2")
    async with simulated(server.url, "tokens@example.org") as client:
        steps = {"do": "deltas", "count": 50, "delay_ms": 100}
        run = await client.run("scripted", text=program(steps), thread_id="t")
        assert isinstance(await run.wait(), ev.RunFinished)
        statistics = client.statistics()
        assert statistics.connections == 1
        assert 3 <= statistics.renewals <= 20
        assert (await client.api.me()).email == "tokens@example.org"
        assert_kept_the_protocol(client)


async def test_an_expired_token_is_renewed_when_the_socket_was_closed_for_it(start_server: StartServer) -> None:
    server = start_server(GOLDENPATH_ACCESS_TOKEN_TTL="1")
    tokens = await asyncio.to_thread(server.tokens, "late@example.org")
    others = await asyncio.to_thread(server.tokens, "idle@example.org")
    async with (
        Client(server.url, token=others["access_token"], refresh_token=others["refresh_token"], link=QUICK) as idle,
        asyncio.timeout(60),
        Client(server.url, token=tokens["access_token"], link=QUICK) as without,
        Client(server.url, token=tokens["access_token"], refresh_token=tokens["refresh_token"], link=QUICK) as client,
    ):
        steps = {"do": "deltas", "count": 20, "delay_ms": 100}
        run = await client.run("scripted", text=program(steps), thread_id="t")
        watching = await without.attach("t", after=Cursor(seq=0))
        assert isinstance(await run.wait(), ev.RunFinished)
        with pytest.raises(RequestError) as caught:
            async for _ in watching:
                pass
        assert caught.value.code == "unauthorized"
        assert watching.cursor is not None
        async with await client.attach("t", after=watching.cursor) as rest:
            assert (await anext(rest)).seq == watching.cursor.seq + 1
        assert (await idle.api.me()).email == "idle@example.org"
        assert idle.statistics().renewals == 1


async def test_logging_out_ends_what_the_client_does(server: ServerProcess) -> None:
    async with simulated(server.url, "logout@example.org") as client:
        run = await client.run("scripted", text=program({"do": "sleep", "ms": 2000}), thread_id="t")
        assert isinstance(await anext(run), ev.RunStarted)
        await client.api.logout()
        with pytest.raises(RequestError) as caught:
            await run.wait()
        assert caught.value.code == "unauthorized"
        with pytest.raises(RequestError):
            await client.api.me()


async def test_two_threads_stream_at_once_and_two_runs_of_one_thread_in_turn(server: ServerProcess) -> None:
    async with simulated(server.url, "two@example.org") as client:
        texts = {f"{thread}{number}": f"{thread}{number} " * 30 for thread in "ab" for number in range(3)}
        runs = [await client.run("echo", text=text, thread_id=name[0]) for name, text in texts.items()]
        assert await asyncio.gather(*map(said, runs)) == list(texts.values())
        for thread in "ab":
            order = [delivery.run_id for delivery in await log_of(client, thread)]
            assert list(dict.fromkeys(order)) == [run.run_id for run in runs if run.thread_id == thread]
            assert order == sorted(order, key=list(dict.fromkeys(order)).index)
        assert_kept_the_protocol(client)


async def test_a_slow_reader_gets_everything_and_holds_nobody_up(server: ServerProcess) -> None:
    async with simulated(server.url, "slow@example.org", buffer=100_000, patience=0.05) as client:
        count = 20_000
        run = await client.run("scripted", text=program({"do": "deltas", "count": count, "size": 100}), thread_id="t")
        most = 0
        received: list[str] = []
        async for event in run:
            most = max(most, run.buffered_bytes)
            if isinstance(event, ev.TextMessageContent):
                received.append(event.delta)
                if len(received) in (10, 5000, 15_000):
                    await asyncio.sleep(0.2)
                    other = await client.run("echo", text="quick", thread_id=f"other{len(received)}")
                    assert await said(other) == "quick"
        alphabet = "abcdefghijklmnopqrstuvwxyz "
        assert "".join(received) == (alphabet * (count * 100 // 27 + 1))[: count * 100]
        assert most < 6_000_000
        statistics = client.statistics()
        assert statistics.pauses >= 3
        assert statistics.lags >= 1
        assert_kept_the_protocol(client)


async def test_a_cancelled_run_keeps_what_it_said(server: ServerProcess) -> None:
    async with simulated(server.url, "cancel@example.org") as client:
        run = await client.run("scripted", text=program({"do": "deltas", "count": 9999, "delay_ms": 5}), thread_id="t")
        queued = await client.run("echo", text="never", thread_id="t")
        for _ in range(5):
            await anext(run)
        await queued.cancel()
        assert run.run_id in await client.cancel("t")
        for ended in (run, queued):
            end = await ended.wait()
            assert isinstance(end, ev.RunFinished)
            assert isinstance(end.outcome, ev.CancelledOutcome)
        assert (await client.api.run_status("t", run.run_id)).status == "cancelled"
        messages = (await client.thread("t").messages()).messages
        assert isinstance(messages[1], AssistantMessage)
        assert messages[1].content


async def test_the_ends_of_runs_are_those_that_did_not_just_finish(server: ServerProcess) -> None:
    async with simulated(server.url, "ends@example.org") as client:
        await (await client.run("echo", text="well", thread_id="t")).wait()
        step = {"do": "error", "code": "upstream_unavailable", "message": "down"}
        failed = await client.run("scripted", text=program(step), thread_id="t")
        terminal = await failed.wait()
        found = await client.api.ends("t")
        assert (found.thread_id, [end.run_id for end in found.ends]) == ("t", [failed.run_id])
        assert found.complete
        assert ev.decode_event(found.ends[0].event) == terminal


async def test_a_deleted_thread_ends_streams_and_its_name_begins_a_new_log(server: ServerProcess) -> None:
    async with simulated(server.url, "delete@example.org") as client:
        await (await client.run("echo", text="old", thread_id="t")).wait()
        stream = await client.attach("t", after=Cursor(seq=0))
        await client.thread("t").delete()
        with pytest.raises(ThreadDetached):
            async for _ in stream:
                pass
        assert stream.cursor is not None
        assert await said(await client.run("echo", text="new", thread_id="t")) == "new"
        again = await client.attach("t", after=Cursor(seq=0))
        assert again.cursor is not None
        assert again.cursor.epoch != stream.cursor.epoch


async def test_a_server_that_is_away_for_good_is_a_clear_error(start_server: StartServer) -> None:
    server = start_server()
    brief = LinkSettings(backoff=Backoff(base=0.01, cap=0.05), reconnect_for=0.3)
    async with simulated(server.url, "away@example.org", link=brief) as client:
        run = await client.run("scripted", text=program({"do": "sleep", "ms": 60_000}), thread_id="t")
        await asyncio.to_thread(server.kill)
        with pytest.raises(ConnectionLost):
            await run.wait()
        with pytest.raises(ConnectionLost):
            await client.run("echo", text="hi")
        with pytest.raises(ConnectionLost):
            await client.api.me()
