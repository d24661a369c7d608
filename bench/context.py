"""Creating a UserExecutionContext, validated, against the same as a frozen pydantic model; and looking up a setting."""

from __future__ import annotations

import timeit
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.server import SERVER_CORE, Side, pin

LOOPS = 50_000
PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"


class Context(BaseModel):
    """The context as one writes it by hand; only patterns and lengths are checked, not placeholders."""

    model_config = ConfigDict(frozen=True)

    user_id: Annotated[str, Field(min_length=1, max_length=256)]
    session_id: Annotated[str, Field(min_length=1, max_length=256)]
    permissions: frozenset[str]
    tier: str
    thread_id: Annotated[str, Field(pattern=PATTERN)]
    run_id: Annotated[str, Field(pattern=PATTERN)]
    request_id: Annotated[str, Field(min_length=1, max_length=256)]
    deadline: Annotated[float, Field(gt=0)]
    created_at: Annotated[float, Field(gt=0)]


def sample(side: Side, options: Options) -> Figures:
    loops = options.pick(LOOPS, 5_000)
    pin(SERVER_CORE)
    from goldenpath.runtime.context import Principal, UserExecutionContext  # noqa: PLC0415
    from goldenpath.runtime.environ import load  # noqa: PLC0415
    from goldenpath.wire.ids import RequestId, RunId, SessionId, ThreadId, UserId  # noqa: PLC0415

    principal = Principal(UserId("user_1"), SessionId("session_1"), 2e9, frozenset({"chat"}))

    def ours() -> object:
        return UserExecutionContext(
            principal, ThreadId("thread-1"), RunId("run-1"), RequestId("req_0123456789abcdef"), 1000.0, 1.7e9
        )

    def theirs() -> object:
        return Context(
            user_id="user_1",
            session_id="session_1",
            permissions=principal.permissions,
            tier="free",
            thread_id="thread-1",
            run_id="run-1",
            request_id="req_0123456789abcdef",
            deadline=1000.0,
            created_at=1.7e9,
        )

    figures: Figures = {"create_us": _microseconds(ours if side == "goldenpath" else theirs, loops)}
    if side == "goldenpath":
        loaded = load({})
        figures["setting_us"] = _microseconds(lambda: loaded.max_engines, loops)
        figures["tier_us"] = _microseconds(lambda: loaded.tier("mid"), loops)
    return figures


def _microseconds(function: object, loops: int) -> float:
    return min(timeit.repeat(function, number=loops, repeat=3)) / loops * 1e6  # type: ignore[arg-type]


BENCHMARK = Benchmark(
    name="context",
    title="UserExecutionContext and settings",
    about="Create and validate one context per call, in a loop of 50,000, against a frozen pydantic model with the same"
    " fields; look up one setting and one tier.",
    rows=(
        Row("create_us", "create and validate a context", "us", budget=5, stretch=2, digits=2),
        Row("setting_us", "look up a setting", "us", budget=1, stretch=0.2, digits=3),
        Row("tier_us", "look up a tier's limits", "us", budget=1, stretch=0.2, digits=3),
    ),
    sample=sample,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
