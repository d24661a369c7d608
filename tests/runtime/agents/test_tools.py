"""Python functions as a model's tools: what the model is told of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from goldenpath import Run
from goldenpath.runtime.agents.tools import FunctionTool


class Place(msgspec.Struct):
    """A place on earth."""

    latitude: float
    longitude: float


def test_the_description_comes_from_the_code() -> None:
    def route(start: Place, stops: list[Place] = [], *, run: Run, fast: bool = True) -> str:  # noqa: B006
        """Plan a route."""
        return ""

    tool = FunctionTool(route)
    assert (tool.name, tool.description) == ("route", "Plan a route.")
    assert tool.parameters["required"] == ["start"]
    assert set(tool.parameters["properties"]) == {"start", "stops", "fast"}
    assert tool.parameters["$defs"]["Place"]["required"] == ["latitude", "longitude"]


def test_a_tool_may_have_another_name() -> None:
    def search() -> str:
        return ""

    assert FunctionTool(search, name="web_search").name == "web_search"


def no_annotation(city) -> str:  # type: ignore[no-untyped-def]
    return str(city)


def positional(city: str, /) -> str:
    return city


def any_number(*cities: str) -> str:
    return "".join(cities)


def any_names(**cities: str) -> str:
    return "".join(cities)


def no_schema(what: complex) -> str:
    return str(what)


@pytest.mark.parametrize("function", [no_annotation, positional, any_number, any_names, no_schema])
def test_a_function_that_no_model_can_call_is_refused(function: Any) -> None:
    with pytest.raises(TypeError):
        FunctionTool(function)
