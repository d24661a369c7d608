from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from goldenpath import App
from goldenpath.runtime.context import Principal
from goldenpath.runtime.registry import MAX_DESCRIPTION, Registry
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import SessionId, UserId

ANN = Principal(UserId("usr_ann"), SessionId("ses_ann"), 2e9, frozenset({"admin"}))
BOB = Principal(UserId("usr_bob"), SessionId("ses_bob"), 2e9)


async def answer(run: Any, style: str = "") -> None:
    """Answers.

    At length.
    """


def work(run: Any) -> None: ...


class Answering:
    """Answers as an object."""

    async def __call__(self, run: Any) -> None: ...

    async def method(self, run: Any) -> None:
        """Answers as a method,
        in two lines."""


class Plain:
    def __call__(self, run: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (answer, True),
        (functools.partial(answer, style="short"), True),
        (functools.partial(functools.partial(answer), style="short"), True),
        (Answering(), True),
        (functools.partial(Answering()), True),
        (Answering().method, True),
        (work, False),
        (functools.partial(work), False),
        (Plain(), False),
        (lambda run: None, False),
        (print, False),
    ],
)
def test_an_async_agent_is_known_as_one_however_it_is_made(function: Any, is_async: bool) -> None:
    assert Registry().add("agent", function).is_async is is_async


@pytest.mark.parametrize(
    ("function", "description"),
    [
        (answer, "Answers."),
        (functools.partial(answer, style="short"), "Answers."),
        (Answering().method, "Answers as a method, in two lines."),
        (Answering(), "Answers as an object."),
        (work, ""),
    ],
)
def test_the_first_paragraph_of_the_docstring_describes_an_agent(function: Any, description: str) -> None:
    assert Registry().add("agent", function).description == description
    assert Registry().add("agent", function, description="").description == ""
    assert Registry().add("agent", function, description="Given.").description == "Given."


def test_a_long_docstring_is_cut() -> None:
    def long(run: Any) -> None: ...

    long.__doc__ = "x" * 10_000
    assert len(Registry().add("agent", long).description) == MAX_DESCRIPTION


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "\u00e9", "a\n"])
def test_a_malformed_name_is_refused(name: str) -> None:
    registry = Registry()
    with pytest.raises(ValueError, match="1 to 128 of the characters"):
        registry.add(name, answer)
    assert list(registry) == []


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    first = registry.add("agent", answer)
    with pytest.raises(ValueError, match="there is an agent 'agent' already"):
        registry.add("agent", work)
    assert registry.get("agent", BOB) is first


def test_agents_are_kept_in_the_order_in_which_they_were_added() -> None:
    registry = Registry()
    for name in "cab":
        registry.add(name, answer)
    assert [agent.name for agent in registry] == ["c", "a", "b"]
    assert "a" in registry
    assert "d" not in registry


def test_an_agent_that_a_user_may_not_run_is_as_if_it_were_not() -> None:
    registry = Registry()
    open_to_all = registry.add("open", answer, timeout=3.0)
    guarded = registry.add("guarded", answer, permission="admin")
    assert registry.allowed(ANN) == [open_to_all, guarded]
    assert registry.allowed(BOB) == [open_to_all]
    assert registry.get("guarded", ANN) is guarded
    messages = set()
    for name in ("guarded", "missing"):
        with pytest.raises(RequestError) as refused:
            registry.get(name, BOB)
        assert refused.value.code == "unknown_agent"
        messages.add(refused.value.message.replace(name, "NAME"))
    assert len(messages) == 1
    assert (open_to_all.timeout, guarded.timeout) == (3.0, None)


async def _yields(_: object) -> AsyncIterator[str]:
    yield "a"


def _yields_in_a_thread(_: object) -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize("function", [_yields, _yields_in_a_thread, functools.partial(_yields)])
def test_a_function_that_yields_is_told_how_to_speak(function: Callable[[object], object]) -> None:
    registry = Registry()
    with pytest.raises(TypeError, match=r"await run\.text"):
        registry.add("agent", function)
    assert "agent" not in registry


async def _takes_nothing() -> None: ...


def _takes_two(run: Any, other: Any) -> None: ...


def _takes_a_name(*, run: Any) -> None: ...


@pytest.mark.parametrize(
    "function", [_takes_nothing, _takes_two, _takes_a_name, Answering.method, functools.partial(answer, 1, "x")]
)
def test_a_function_that_cannot_take_the_run_is_refused(function: Callable[..., object]) -> None:
    registry = Registry()
    with pytest.raises(TypeError, match=r"must take one argument, its run: `async def \w+\(run\)`"):
        registry.add("agent", function)
    assert "agent" not in registry


def test_the_decorator_needs_a_name() -> None:
    app = App()
    with pytest.raises(TypeError, match=r'@app\.agent\("name"\)'):
        app.agent(_yields)  # type: ignore[arg-type]
