"""Python functions as tools of a model: their description from the code, their arguments checked."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

from goldenpath.runtime.run import Run
from goldenpath.wire.errors import GoldenpathError

RUN: Final = "run"
"""A parameter of this name is given the run; the model does not see it."""


class ToolError(GoldenpathError):
    """Raise it in a tool to tell the model, instead of a result, what went wrong. Any other exception ends the run."""


class FunctionTool:
    """A function that a model may call.

    Its name is the tool's name, its docstring the description, and its parameters' annotations the JSON schema. It may
    be async; a plain function is called in a thread. Raises TypeError for parameters without annotations,
    positional-only ones and `*args`, and for types that have no JSON schema. `timeout` is how long a call may take, in
    seconds; None: `tool_timeout`.
    """

    def __init__(self, function: Callable[..., Any], *, name: str | None = None, timeout: float | None = None) -> None:
        self.name: str = name or function.__name__
        self.description = inspect.getdoc(function) or ""
        self._function = function
        self._timeout = timeout
        self._is_async = inspect.iscoroutinefunction(function)
        self._wants_run, self._arguments = _arguments_of(function, self.name)
        schema = msgspec.json.schema(self._arguments)
        definitions = schema["$defs"]
        self.parameters: dict[str, Any] = definitions.pop(self._arguments.__name__)
        """The JSON schema of the arguments."""
        del self.parameters["title"]
        if definitions:
            self.parameters["$defs"] = definitions

    async def call(self, run: Run, arguments: str) -> str:
        """Call the function with `arguments` (JSON text) and return its result, as JSON where it is not text.

        Wrong arguments and a `ToolError` are returned as text that tells the model so. Whatever else the function
        raises is raised, and is a failure of the dependency `tool:NAME`: after too many the function is not called for
        a while, and the call raises `DependencyUnavailableError`. One that takes too long raises `TimedOut`.
        """
        try:
            given = msgspec.json.decode(arguments or "{}", type=self._arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return f"Wrong arguments: {error}"
        values = {name: getattr(given, name) for name in self._arguments.__struct_fields__}
        if self._wants_run:
            values[RUN] = run
        with run.dependency(f"tool:{self.name}", what=f"the tool {self.name}"):
            try:
                async with run.within(self._timeout, level="tool"):
                    if self._is_async:
                        result = await self._function(**values)
                    else:
                        result = await run.in_thread(lambda: self._function(**values))
            except ToolError as error:
                return f"Error: {error}"
        return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _arguments_of(function: Callable[..., Any], name: str) -> tuple[bool, type[msgspec.Struct]]:
    """Whether `function` takes the run, and its other parameters as a struct."""
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    wants_run = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == RUN:
            wants_run = True
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}: the parameter {parameter.name} must be one that can be given by name")
        if parameter.name not in hints:
            raise TypeError(f"{name}: the parameter {parameter.name} needs a type annotation")
        field = (parameter.name, hints[parameter.name])
        fields.append(field if parameter.default is parameter.empty else (*field, parameter.default))
    return wants_run, msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
