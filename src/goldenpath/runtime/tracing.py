"""Traces for OpenTelemetry: of each run the request, the wait in the queue, the run, and each call of a tool or model.

Off unless the settings ask for it; the parts then have no `Tracing`, and nothing costs anything. Only the API is used:
without an SDK, which the operator or the app sets up, spans go nowhere. Names and attributes follow the semantic
conventions for generative AI, which still change: `GenAi` says which version. What users and models say is never
recorded, nor who the users are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from typing import TYPE_CHECKING, Any, Final

from goldenpath.runtime.settings import GenAi, SettingsError
from goldenpath.wire.errors import RequestError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

MISSING: Final = "GOLDENPATH_OTEL_TRACES needs the extra otel: pip install 'goldenpath[otel]'"
_OWN: Final = "goldenpath"
"""The provider of our agents; that of models is whoever speaks OpenAI's protocol."""


class Tracing:
    """Begins the traces of runs. Safe to share. `version` is ours; `provider` None takes the process's own. Raises
    `SettingsError` where opentelemetry-api is not installed."""

    def __init__(self, version: str, conventions: GenAi, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an extra
        except ImportError:
            raise SettingsError(MISSING) from None
        self.tracer = trace.get_tracer("goldenpath", version, provider)
        self.provider_key = "gen_ai.system" if conventions == "1.36" else "gen_ai.provider.name"

    def request(self, agent: str, request_id: str, traceparent: str | None) -> RunTrace:
        """Begin the trace of a run that somebody asks for. `traceparent` is the caller's, as W3C Trace Context has it;
        None, or a malformed one, begins a trace below what is current."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        parent = None
        if traceparent is not None:
            parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        attributes = {"gen_ai.agent.name": agent, "goldenpath.request.id": request_id}
        span = self.tracer.start_span("request", parent, SpanKind.SERVER, attributes)
        return RunTrace(self, agent, span)


class RunTrace:
    """The trace of one run, from its request to its end. Belongs to the event loop's thread. Each `..._ends` may be
    repeated."""

    __slots__ = ("_agent", "_context", "_queue", "_request", "_run", "_tokens", "_tracing")

    def __init__(self, tracing: Tracing, agent: str, request: Span) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        self._tracing = tracing
        self._agent = agent
        self._request = request
        self._context: Context = set_span_in_context(request)
        self._queue: Span | None = None
        self._run: Span | None = None
        self._tokens = {"input": 0, "output": 0}

    def request_ends(self, error: BaseException | None = None) -> None:
        """The request was answered: the run is accepted, or refused by `error`."""
        if error is not None:
            _fail(self._request, _code(error))
        self._request.end()

    def queue_begins(self, thread_id: str, run_id: str) -> None:
        """The run waits for its place, be it for no time at all."""
        self._request.set_attributes({"gen_ai.conversation.id": thread_id, "goldenpath.run.id": run_id})
        self._queue = self._tracing.tracer.start_span("queue", self._context)

    def run_begins(self, thread_id: str, run_id: str) -> None:
        """The run has its place. Everything that its task does from now on is below its span."""
        from opentelemetry import context, trace  # noqa: PLC0415

        if self._queue is not None:
            self._queue.end()
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            self._tracing.provider_key: _OWN,
            "gen_ai.agent.name": self._agent,
            "gen_ai.conversation.id": thread_id,
            "goldenpath.run.id": run_id,
        }
        self._run = self._tracing.tracer.start_span(
            f"invoke_agent {self._agent}", self._context, trace.SpanKind.INTERNAL, attributes
        )
        # The task of the run has a context of its own, which ends with it: there is nothing to set back.
        context.attach(trace.set_span_in_context(self._run, self._context))

    def run_ends(self, kind: str, code: str | None) -> None:
        """The run has its end: `kind` as its outcome has it, `code` that of its error."""
        if self._queue is not None and self._run is None:
            self._queue.end()
        span = self._run or self._queue
        if span is None or not span.is_recording():
            return
        span.set_attribute("goldenpath.outcome", kind)
        if code is not None:
            _fail(span, code)
        for name, count in self._tokens.items():
            if count:
                span.set_attribute(f"gen_ai.usage.{name}_tokens", count)
        span.end()

    def call(self, dependency: str, model: str | None) -> CallTrace:
        """The span of a call of `dependency`, whose name is `KIND:NAME`."""
        return CallTrace(self._tracing, dependency, model)

    def usage(self, tokens: dict[str, Any]) -> None:
        """Tokens of the model call whose span is current; the run's span has the sum."""
        from opentelemetry import trace  # noqa: PLC0415

        for name in self._tokens:
            count = tokens.get(f"{name}Tokens", 0)
            self._tokens[name] += count
            trace.get_current_span().set_attribute(f"gen_ai.usage.{name}_tokens", count)


@contextmanager
def ending(trace: RunTrace | None) -> Iterator[None]:
    """The block answers the request of `trace`; None traces nothing."""
    try:
        yield
    except BaseException as error:
        if trace is not None:
            trace.request_ends(error)
        raise
    if trace is not None:
        trace.request_ends()


class CallTrace:
    """The span of one call of a tool, a model or something else. It is made when it is to begin, and ends once."""

    __slots__ = ("_span", "_token")

    def __init__(self, tracing: Tracing, dependency: str, model: str | None) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        kind, _, name = dependency.partition(":")
        attributes: dict[str, str] = {}
        span_kind = SpanKind.CLIENT
        if kind == "tool":
            title = f"execute_tool {name}"
            attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
            span_kind = SpanKind.INTERNAL
        elif kind == "model":
            title = f"chat {model}" if model else "chat"
            attributes = {"gen_ai.operation.name": "chat", tracing.provider_key: "openai", "server.address": name}
            if model:
                attributes["gen_ai.request.model"] = model
        else:
            title = dependency
        self._span: Span = tracing.tracer.start_span(title, None, span_kind, attributes)
        self._token: Token[Context] | None = None

    def begins(self) -> None:
        """What the task does from now on is below this span."""
        from opentelemetry import context, trace  # noqa: PLC0415

        self._token = context.attach(trace.set_span_in_context(self._span))

    def ends(self, error: BaseException | None) -> None:
        """The call is over; with `error`, it failed. In the task that it began in."""
        from opentelemetry import context  # noqa: PLC0415

        if self._token is not None:
            context.detach(self._token)
        if error is not None:
            _fail(self._span, _code(error))
        self._span.end()


def _fail(span: Span, code: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR))


def _code(error: BaseException) -> str:
    """What an error is told as: its text may hold what users say."""
    return error.code if isinstance(error, RequestError) else type(error).__name__
