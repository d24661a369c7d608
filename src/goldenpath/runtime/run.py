"""What an agent gets: the run. Everything an agent says goes through it into the thread's log.

`Run` is for async agents. `SyncRun` has the same names without `await`, for agents that are plain functions and run in
a thread of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from goldenpath.clock import Clock
from goldenpath.runtime import spans
from goldenpath.runtime.breakers import Breakers, DependencyCall
from goldenpath.runtime.containment import Contained
from goldenpath.runtime.context import UserExecutionContext
from goldenpath.runtime.deadlines import Deadline, Deadlines
from goldenpath.runtime.documents import Documents
from goldenpath.runtime.flags.flags import UserFlags
from goldenpath.runtime.group_commit import GroupCommit
from goldenpath.runtime.offload import call_in_thread
from goldenpath.runtime.run_records import STEP_EVENTS, CallSpan, RecordedCall, RunRecord
from goldenpath.runtime.spans import RunEndedError, Span, TextStream, ToolCallStream
from goldenpath.runtime.thread_log import LogDeletedError, ThreadLog
from goldenpath.runtime.timeouts import Level
from goldenpath.runtime.tracing import RunTrace
from goldenpath.wire import events as ev
from goldenpath.wire.errors import GoldenpathError, RequestError
from goldenpath.wire.events import encode, seal
from goldenpath.wire.ids import new_id
from goldenpath.wire.json_patch import PatchTooLargeError, check_patch
from goldenpath.wire.messages import Content, Message, RunAgentInput, UserMessage, decode_message
from goldenpath.wire.order import RunOrder

T = TypeVar("T")

AHEAD_EVENTS: Final = 64
"""How many events a run may be ahead of the disk; with the next one its agent waits for the commit."""
AHEAD_BYTES: Final = 256 * 1024
"""The same in bytes."""
WORK_WEIGHT: Final = 8
"""A byte that a patch reads and writes takes as long to fold as so many that are said."""
UNFOLDED_WORK: Final = 256 * 1024
"""When patches asked for more than this, in bytes, it is folded."""
_CHUNKS: Final = (ev.TextMessageChunk, ev.ToolCallChunk, ev.ReasoningMessageChunk)
_DOCUMENTS: Final = (ev.StateSnapshot, ev.StateDelta, ev.ActivitySnapshot, ev.ActivityDelta, ev.MessagesSnapshot)
MAX_THREADS: Final = 8
"""How many threads of one run may be at work at once."""


class Interrupted(GoldenpathError):
    """Raised by `Run.interrupt` to end the run with a question. Do not catch it, or raise it again."""

    def __init__(self, interrupts: list[ev.Interrupt]) -> None:
        super().__init__("the run waits for a person")
        self.interrupts = interrupts


class RunLimits(msgspec.Struct, frozen=True):
    """What one run may produce, in bytes."""

    max_event_bytes: int
    max_run_bytes: int


class Run:
    """One run of an agent for one user's thread.

    Every method may be called concurrently from tasks of this run (`spawn`), and only from the run's event loop.
    Cancelling a call that emits loses nothing that was emitted. After the end of the run every call that emits raises
    `RunEndedError`.
    """

    def __init__(
        self,
        context: UserExecutionContext,
        run_input: RunAgentInput,
        messages: list[Message],
        log: ThreadLog,
        commits: GroupCommit,
        clock: Clock,
        limits: RunLimits,
        breakers: Breakers,
        flags: UserFlags,
        deadlines: Deadlines,
        record: RunRecord | None = None,
        trace: RunTrace | None = None,
        task_name: str | None = None,
    ) -> None:
        self.context = context
        self.flags = flags
        """The feature flags as the run's user has them now."""
        self.input = run_input
        self._history = messages
        self._first_state = encode(run_input.state)  # now: the agent may change its input
        self.clock = clock
        self.cancelled = False
        """Whether somebody asked this run to stop. An async agent is cancelled as well; a plain function may look."""
        self.ended = False
        self.pending_tool_calls: list[str] = []
        self.token_usage: list[dict[str, Any]] = []
        self._log = log
        self._commits = commits
        self.limits = limits
        self._breakers = breakers
        self.deadlines = deadlines
        self.timeouts = deadlines.timeouts.now
        """Those of this run: whatever is put in force later, it keeps them."""
        self.limit = Deadline(context.deadline, "run", max(0.0, context.deadline - clock.monotonic()))
        self._bounded = 0
        self.order = RunOrder()
        self._size = 0
        self._unfolded = 0
        """What patches ask for that the transcript has not taken in yet, in bytes."""
        self._ending_size = 0
        self.record = record
        """What operators see of it; None where nobody looks."""
        self.trace = trace
        """What its spans hang on; None where nothing is traced."""
        self.task_name = task_name
        """Of the task that the agent runs in, and of those that it spawns."""
        self.group: asyncio.TaskGroup | None = None
        """Set by the engine while the agent runs."""
        self.cleanups: list[Callable[[], object]] = []
        self._places: asyncio.Semaphore | None = None
        self._threads: set[asyncio.Future[Any]] = set()
        self._threads_end: list[Callable[[], None]] = []

    @cached_property
    def messages(self) -> list[Message]:
        """The whole conversation, the new messages last. The run's own copy: changing it changes nothing else."""
        return [decode_message(encode(message)) for message in self._history]

    @cached_property
    def _documents(self) -> Documents:
        return Documents(msgspec.json.decode(self._first_state), self._history, self.limits.max_event_bytes)

    # --- who and how long ---------------------------------------------------------------------------------------------

    @property
    def user_text(self) -> str:
        """The text of the last user message; empty where there is none."""
        for message in reversed(self._history):
            if isinstance(message, UserMessage):
                return message.text
        return ""

    @property
    def deadline(self) -> float:
        """When the run is ended at the latest, on `clock.monotonic`'s time line, in seconds."""
        return self.context.deadline

    def remaining(self) -> float:
        """Seconds until the deadline; never below 0. Give it to whatever the agent waits for."""
        return max(0.0, self.context.deadline - self.clock.monotonic())

    @asynccontextmanager
    async def within(self, seconds: float | None = None, *, level: Level = "tool") -> AsyncIterator[None]:
        """`async with` it around what may take `seconds`; None: as long as the time-outs give `level`. Meanwhile the
        agent is not silent. Raises `TimedOut`, a `RequestError` (`timeout`), and never later than at the deadline."""
        given = self.timeouts.of(level) if seconds is None else seconds
        with self.bounded():
            async with self.deadlines.within(self.limit.child(level, given, self.clock.monotonic())):
                yield

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Around a wait that has an end of its own: meanwhile the agent is not silent."""
        self._bounded += 1
        try:
            yield
        finally:
            self._bounded -= 1

    @property
    def excused(self) -> bool:
        """Whether somebody waits within what is bounded otherwise."""
        return self._bounded > 0

    @property
    def mark(self) -> int:
        """Another one whenever the agent said something, or asked for the end of it."""
        return self._size + self._ending_size

    def dependency(
        self, name: str, *, what: str = "something the agent needs", model: str | None = None
    ) -> DependencyCall:
        """A call of something that may be down, for this run's user: `with` it, around what is awaited.

        After too many calls that failed or were slow, entering raises `DependencyUnavailableError`, a `RequestError`
        (`upstream_unavailable`), at once: the run ends with it, unless the agent knows better. Any exception but a
        `RequestError` of another code, or a cancel, is a failure. `name` is for operators, `KIND:NAME`; `what` is what
        the user reads. In a trace the call is a span, of a model with the name `model`.
        """
        span: CallSpan | None = None if self.trace is None else self.trace.call(name, model)
        if self.record is not None:
            span = RecordedCall(self.record, name, self.clock, span)
        return self._breakers.call(name, self.context.user_id, what=what, span=span)

    # --- saying -------------------------------------------------------------------------------------------------------

    async def emit(self, event: ev.Event) -> None:
        """Append one event: any of `goldenpath.wire.events` but RUN_STARTED, RUN_FINISHED and RUN_ERROR.

        Waits while the run is too far ahead of the disk. Raises `OrderError` for an event that has no place here,
        `RequestError` (`payload_too_large`) for one over the limit, and for a patch that makes more than one event may
        say, `RunEndedError`, and as `wire.events.seal` for one that nobody could read.
        """
        if isinstance(event, _CHUNKS):
            raise TypeError("emit START, CONTENT and END instead of chunks: message(), tool_call(), reasoning()")
        if self.ended:
            raise RunEndedError(self.context.run_id)
        if isinstance(event, ev.StateDelta):
            check_patch(event.delta)
        elif isinstance(event, ev.ActivityDelta):
            check_patch(event.patch)
        data = seal(event)
        self._refuse_too_large(len(data))  # here too: the order remembers what it has let through
        self.order.check(event)
        if isinstance(event, _DOCUMENTS):
            try:
                work = self._documents.take(event, data)
            except PatchTooLargeError as error:
                raise RequestError("payload_too_large", str(error)) from None
            self._size += WORK_WEIGHT * work
            self._unfolded += work
        if self.record is not None and type(event) in STEP_EVENTS:
            self.record.note(event, self.clock.monotonic())
        if self.append(data):
            await self.keep_pace()
        if self._unfolded > UNFOLDED_WORK:
            await self._fold()

    async def _fold(self) -> None:
        """Have the transcript take in what was said: all that patches ask for at once would keep everybody waiting."""
        self._unfolded = 0
        head = self._log.head
        while self._log.visible < head:
            await self._room()
        self._log.fold(self._log.visible)

    @property
    def size(self) -> int:
        """How much was said so far, in bytes; what patches ask for counts as `WORK_WEIGHT` says."""
        return self._size

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more: the run has its end, or its thread was deleted."""
        return self.ended or self._log.deleted

    def append(self, data: bytes) -> bool:
        """Append an event whose place is known to be right; for `emit` and the streams. Returns whether the run is too
        far ahead of the disk: its agent must then `keep_pace`. Awaiting only then halves the cost of a delta. Raises as
        `emit` does."""
        log = self._log
        if self.ended or log.deleted:
            raise RunEndedError(self.context.run_id)
        size = len(data)
        self._refuse_too_large(size)
        self._size += size
        log.append(data)
        if not log.touched:
            self._commits.touch(log)
        return log.head - log.visible >= AHEAD_EVENTS or log.appended_size >= AHEAD_BYTES

    def _refuse_too_large(self, size: int) -> None:
        limits = self.limits
        if size > limits.max_event_bytes:
            raise RequestError(
                "payload_too_large", f"an event of {size} bytes; at most {limits.max_event_bytes} are allowed"
            )
        if self._size + size > limits.max_run_bytes:
            raise RequestError("payload_too_large", f"the run has more than {limits.max_run_bytes} bytes")

    async def keep_pace(self) -> None:
        """Wait until the run is no longer too far ahead of the disk."""
        log = self._log
        while log.head - log.visible >= AHEAD_EVENTS or log.appended_size >= AHEAD_BYTES:
            await self._room()

    async def _room(self) -> None:
        try:
            with self.bounded():  # it is the disk that is slow
                await self._commits.room(self._log)
        except LogDeletedError:
            raise RunEndedError(self.context.run_id) from None

    async def text(self, text: str, *, message_id: str | None = None) -> str:
        """Say a whole assistant message. Returns its id."""
        async with self.message(message_id=message_id) as message:
            await message.write(text)
        return message.id

    def message(self, *, message_id: str | None = None, name: str | None = None) -> TextStream:
        """An assistant message that streams: `async with` it, and `write` its deltas; leaving the block ends it."""
        return spans.message(self, message_id or new_id("msg"), name)

    def reasoning(self, *, message_id: str | None = None) -> TextStream:
        """The agent's thoughts, shown apart from its answer: `async with` them, and `write` deltas."""
        return spans.reasoning(self, message_id or new_id("rsn"))

    def tool_call(
        self, name: str, *, tool_call_id: str | None = None, parent_message_id: str | None = None
    ) -> ToolCallStream:
        """A call of the tool `name`, as the user sees it: `async with` it, and stream its arguments with `args`. The
        result, where there is one, follows with `tool_result`."""
        return spans.tool_call(self, tool_call_id or new_id("call"), name, parent_message_id)

    async def tool_result(self, tool_call_id: str, content: Content, *, message_id: str | None = None) -> None:
        """What the tool returned: text, or AG-UI content parts."""
        await self.emit(ev.ToolCallResult(message_id or new_id("msg"), tool_call_id, content))

    def pending(self, tool_call_id: str) -> None:
        """Mark a tool call as the client's to answer: RUN_FINISHED names it, and a later run brings the result.
        Raises as `usage` does where the terminal event would grow over the limit."""
        self._count_ending(tool_call_id)
        self.pending_tool_calls.append(tool_call_id)

    def usage(self, tokens: dict[str, Any]) -> None:
        """Count the tokens of one model call: an AG-UI TokenUsage (`model`, `inputTokens`, `outputTokens`, ...), which
        the terminal event carries. Raises ValueError for a count that is not a whole number >= 0, TypeError for what is
        no JSON, `RequestError` (`payload_too_large`) where the terminal event would grow over the limit of an event."""
        for name, value in tokens.items():
            if name.endswith("Tokens") and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise ValueError(f"usage: {name} is a whole number >= 0")
        self.token_usage.append(msgspec.json.decode(self._count_ending(tokens)))
        if self.trace is not None:
            self.trace.usage(tokens)

    def _count_ending(self, part: object) -> bytes:
        """Count what the terminal event is to carry; returns its JSON."""
        data = encode(part)
        size = self._ending_size + len(data)
        limit = self.limits.max_event_bytes
        if size > limit:
            message = f"the run's last event would have more than {size} bytes; at most {limit} are allowed"
            raise RequestError("payload_too_large", message)
        self._ending_size = size
        return data

    def step(self, name: str) -> Span:
        """A named part of the work: `async with` it. The same name may not be open twice at once."""
        return spans.step(self, name)

    async def state(self, snapshot: Any) -> None:
        """Replace the shared state by any JSON value."""
        await self.emit(ev.StateSnapshot(snapshot))

    async def state_delta(self, patch: list[dict[str, Any]]) -> None:
        """Change the shared state by an RFC 6902 patch. Raises `PatchError`, a ValueError, for a malformed one."""
        await self.emit(ev.StateDelta(patch))

    async def custom(self, name: str, value: Any) -> None:
        """An event of the application's own."""
        await self.emit(ev.Custom(name, value))

    def interrupt(
        self,
        reason: str,
        *,
        message: str | None = None,
        tool_call_id: str | None = None,
        response_schema: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        interrupt_id: str | None = None,
    ) -> NoReturn:
        """End the run with a question to a person. The next run finds the answer in `input.resume`."""
        raise Interrupted(
            [
                ev.Interrupt(
                    id=interrupt_id or new_id("int"),
                    reason=reason,
                    message=message,
                    tool_call_id=tool_call_id,
                    response_schema=response_schema,
                    metadata=metadata,
                )
            ]
        )

    # --- working ------------------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task of this run. The run ends when its agent and all its tasks have; a task that raises ends it."""
        if self.group is None or self.ended:
            coroutine.close()
            raise RunEndedError(self.context.run_id)
        return self.group.create_task(Contained(coroutine), name=self.task_name)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call `function` in a thread, so that blocking work stops nobody. At most 8 at once, the next wait.

        Cancelling waits for nothing: the thread finishes its call unheard. Until then it counts among the 8, and the
        run keeps its place among the user's runs, though its end may be told before.
        """
        if self._places is None:
            self._places = asyncio.Semaphore(MAX_THREADS)
        await self._places.acquire()
        call = asyncio.ensure_future(call_in_thread(function, *arguments))
        self._threads.add(call)
        call.add_done_callback(self._on_thread_ended)
        return await asyncio.shield(call)

    def _on_thread_ended(self, call: asyncio.Future[Any]) -> None:
        assert self._places is not None
        self._places.release()
        self._threads.discard(call)
        while self._threads_end and not self._threads:
            self._threads_end.pop(0)()

    def when_threads_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` when no thread of this run is at work: now, or when the last of them has ended."""
        if self._threads:
            self._threads_end.append(callback)
        else:
            callback()

    def on_cleanup(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the agent has ended, however it ended; the last registered first. It may be async.

        Each may take 5 s, then it is cancelled. What it raises is logged and changes nothing: the next one is called,
        and the run ends as its agent did. Stopping the run reaches no clean-up, and what has ended stays as it ended:
        where the clean-ups are not done `cancel_grace` later, the run is told its end, and they go on. A server that
        shuts down waits for them no longer than for agents.
        """
        self.cleanups.append(callback)
