"""The HTTP calls. Each takes a `Request` and the principal, and gives an `Answer`; routes.py says which is where."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Final

import msgspec
from starlette.types import Send

from goldenpath.clock import rfc3339
from goldenpath.runtime.auth import emails
from goldenpath.runtime.context import Principal
from goldenpath.runtime.dispatcher import RunRequest
from goldenpath.runtime.flags.definition import REGISTRATION, SIMULATION
from goldenpath.runtime.gateway.faults import counted
from goldenpath.runtime.gateway.gateway import Gateway
from goldenpath.runtime.gateway.handshake import bearer_token
from goldenpath.runtime.gateway.legacy import to_0x
from goldenpath.runtime.gateway.request import Answer, Request, answer, parse
from goldenpath.runtime.gateway.sse import SseStream
from goldenpath.runtime.interfaces import RunRow, ThreadRow
from goldenpath.runtime.thread_log import LogDeletedError, ThreadLog
from goldenpath.wire import answers
from goldenpath.wire.commands import Cursor, check_cursor
from goldenpath.wire.errors import RequestError
from goldenpath.wire.ids import POSITION_PATTERN, RequestId, is_name, new_id
from goldenpath.wire.messages import PROTOCOL_VERSION_PATTERN, RunAgentInput

_PROTOCOL_VERSION: Final = re.compile(PROTOCOL_VERSION_PATTERN)
_POSITION: Final = re.compile(POSITION_PATTERN)


class _Page(msgspec.Struct, array_like=True):
    """What a page cursor holds: the last row of the page before."""

    updated_at: float
    thread_id: str


class HttpApi:
    """The calls of one server."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._limit = gateway.settings.max_body_bytes
        self.patience = 2 * gateway.settings.heartbeat
        """How long a request's body may stand still, in seconds."""

    async def principal(self, request: Request) -> Principal:
        """Who asks. Raises `RequestError`: `unauthorized`, `bad_request`."""
        token = bearer_token(request.headers)
        if token is None:
            raise RequestError("unauthorized", "an access token is needed")
        return await self._gateway.authenticate(token)

    def in_time(self) -> AbstractAsyncContextManager[None]:
        """As `Gateway.in_time`."""
        return self._gateway.in_time()

    def count(self, principal: Principal) -> None:
        """Count a call without a body. Raises `RequestError`: `rate_limited`, `overloaded`."""
        self._gateway.rates.command(principal, 0)

    # --- accounts -----------------------------------------------------------------------------------------------------

    def _check_switch(self, flag: str, what: str) -> None:
        if not self._gateway.flags.enabled(flag):
            raise RequestError("forbidden", f"{what} is switched off on this server at present")

    async def register(self, request: Request) -> Answer:
        self._check_switch(REGISTRATION, "registration")
        given = await request.json(answers.Credentials, self._limit)
        with self._guess(request, given.email):
            async with self.in_time():
                return answer(await self._gateway.accounts.register(given.email, given.password), 201)

    async def login(self, request: Request) -> Answer:
        given = await request.json(answers.Credentials, self._limit)
        gateway = self._gateway
        logins, began = gateway.signals.login, gateway.clock.monotonic()
        try:
            with self._guess(request, given.email):
                async with self.in_time():
                    tokens = await gateway.accounts.login(given.email, given.password)
        except Exception as error:
            logins.fail(counted(error), gateway.clock.monotonic())
            raise
        now = gateway.clock.monotonic()
        logins.took.record(now - began, now)
        return answer(tokens)

    @contextmanager
    def _guess(self, request: Request, email: str) -> Iterator[None]:
        """A try with an e-mail that may be a guess, and counts for its address where it is a wrong one."""
        rates = self._gateway.rates
        address = self._gateway.address(request.client, request.headers)
        rates.check_address(address)
        rates.login(emails.normalize(email))
        try:
            yield
        except RequestError as error:
            if error.code in ("unauthorized", "conflict"):
                rates.failed_from(address)
            raise

    async def refresh(self, request: Request) -> Answer:
        given = await request.json(answers.RefreshRequest, self._limit)
        async with self.in_time():
            return answer(await self._gateway.accounts.refresh(given.refresh_token))

    async def simulate(self, request: Request) -> Answer:
        accounts = self._gateway.accounts
        key = request.header(b"x-simulation-key")
        self._check_switch(SIMULATION, "simulation of users")
        accounts.check_simulation(key)  # whether one may simulate at all comes before what the body says
        given = await request.json(answers.SimulateRequest, self._limit)
        self._gateway.rates.login(emails.normalize(given.email))
        tier = "free" if given.tier is None else given.tier
        async with self.in_time():
            return answer(await accounts.simulate(key, given.email, given.permissions or (), tier))

    async def logout(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002 - the calls' one form
        await self._gateway.accounts.logout(principal)
        return Answer(204)

    async def me(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002
        return answer(self._gateway.accounts.me(principal))

    # --- agents and runs ----------------------------------------------------------------------------------------------

    async def agents(self, request: Request, principal: Principal) -> Answer:  # noqa: ARG002
        allowed = self._gateway.dispatcher.agents_of(principal)
        return answer(answers.Agents([answers.AgentInfo(agent.name, agent.description) for agent in allowed]))

    async def run_agent(self, request: Request, principal: Principal, send: Send) -> None:
        gateway = self._gateway
        agent = request.path["agent"]
        if not is_name(agent):
            raise RequestError("bad_request", "agent is not a valid name")
        body = await request.body(self._limit)
        gateway.rates.command(principal, len(body), runs=1)
        async with gateway.reading(principal, len(body)):
            given = parse(body, RunAgentInput, nested=True)
        principal = await self.principal(request)  # again: the session may have ended while the body came
        legacy = _is_legacy(given)
        if given.thread_id is None or given.run_id is None:
            raise RequestError("bad_request", "the body: threadId and runId are required")
        for identity in (given.thread_id, given.run_id):
            if not is_name(identity):
                raise RequestError("bad_request", "threadId or runId is not a valid id")
        run_request = RunRequest(agent=agent, input=given, traceparent=request.header(b"traceparent"))
        # Room for the stream comes first: whoever is refused one has started no run.
        with gateway.admit_stream(principal, request.client, request.headers) as reservation:
            async with AsyncExitStack() as opened:
                async with self.in_time():
                    starting = gateway.dispatcher.start(principal, run_request, RequestId(new_id("req")))
                    accepted = await opened.enter_async_context(starting)
                stream = SseStream(
                    gateway,
                    principal,
                    reservation,
                    accepted.log,
                    accepted.seq,
                    run=accepted.run,
                    translate=to_0x if legacy else None,
                )
                await stream.serve(request, send, self._send_patience(request))

    def _send_patience(self, request: Request) -> float | None:
        return None if request.cuts_slow_clients else self._gateway.settings.write_timeout

    async def run(self, request: Request, principal: Principal) -> Answer:
        thread_id = request.name("thread_id")
        row = await self._gateway.dispatcher.run(principal, thread_id, request.name("run_id"))
        return answer(_run_info(thread_id, row))

    async def cancel(self, request: Request, principal: Principal) -> Answer:
        thread_id, run_id = request.name("thread_id"), request.name("run_id")
        await self._gateway.dispatcher.cancel(principal, thread_id, run_id)
        row = await self._gateway.dispatcher.run(principal, thread_id, run_id)
        return answer(_run_info(thread_id, row), 202)

    # --- threads ------------------------------------------------------------------------------------------------------

    async def threads(self, request: Request, principal: Principal) -> Answer:
        limit = request.limit()
        before = _read_page(request.query("cursor"))
        rows = await self._gateway.dispatcher.threads(principal.user_id, limit + 1, before)
        page = rows[:limit]
        next_cursor = _write_page(page[-1]) if len(rows) > limit else None
        return answer(
            answers.Threads(
                [
                    answers.ThreadSummary(row.key.thread_id, rfc3339(row.created_at), rfc3339(row.updated_at), row.head)
                    for row in page
                ],
                next_cursor,
            )
        )

    async def thread(self, request: Request, principal: Principal) -> Answer:
        async with self._gateway.dispatcher.opened(principal, request.name("thread_id")) as log:
            runs = await self._gateway.dispatcher.runs(log)
            return answer(
                answers.ThreadInfo(
                    log.key.thread_id,
                    rfc3339(log.created_at),
                    rfc3339(log.updated_at),
                    log.epoch,
                    log.visible,
                    [answers.RunSummary(row.run_id, row.status) for row in runs],
                )
            )

    async def delete_thread(self, request: Request, principal: Principal) -> Answer:
        await self._gateway.dispatcher.delete(principal, request.name("thread_id"))
        return Answer(204)

    async def messages(self, request: Request, principal: Principal) -> Answer:
        reading = self._gateway.dispatcher.messages(principal, request.name("thread_id"))
        log, seq, messages = await request.while_connected(reading)
        return answer(answers.Messages(log.key.thread_id, log.epoch, seq, [msgspec.Raw(body) for body in messages]))

    async def ends(self, request: Request, principal: Principal) -> Answer:
        reading = self._gateway.dispatcher.ends(principal, request.name("thread_id"))
        log, ends, complete = await request.while_connected(reading)
        return answer(answers.Ends(log.key.thread_id, log.epoch, ends, complete))

    async def events(self, request: Request, principal: Principal, send: Send) -> None:
        gateway = self._gateway
        cursor = _cursor(request)
        thread_id = request.name("thread_id")
        with gateway.admit_stream(principal, request.client, request.headers) as reservation:
            async with AsyncExitStack() as opened:
                async with self.in_time():
                    log = await opened.enter_async_context(gateway.dispatcher.opened(principal, thread_id))
                    try:
                        seq, snapshot = await self._start_position(request, log, cursor)
                    except LogDeletedError:
                        raise RequestError("not_found", "there is no such thread") from None
                stream = SseStream(gateway, principal, reservation, log, seq, snapshot=snapshot)
                await stream.serve(request, send, self._send_patience(request))

    async def _start_position(
        self, request: Request, log: ThreadLog, cursor: Cursor | None
    ) -> tuple[int, bytes | None]:
        if cursor is None:
            return log.visible, None
        if log.missing(cursor.epoch, cursor.seq):
            return await request.while_connected(self._gateway.snapshot(log))
        return cursor.seq, None


def _is_legacy(given: RunAgentInput) -> bool:
    """Whether the client speaks AG-UI 0.x. Raises `RequestError` (`bad_request`) for a version we do not speak."""
    version = given.protocol_version
    if isinstance(version, msgspec.UnsetType):
        return True
    if not _PROTOCOL_VERSION.fullmatch(version):
        raise RequestError("bad_request", "protocolVersion is a string 0.x or 1.x")
    return version.startswith("0")


def _cursor(request: Request) -> Cursor | None:
    last = request.only_header(b"last-event-id")
    if last:
        found = _POSITION.fullmatch(last)
        if found is None:
            raise RequestError("bad_request", "Last-Event-ID has the form EPOCH.SEQ")
        return Cursor(int(found[2]), found[1])
    seq = request.integer("after")
    epoch = request.query("epoch")
    if seq is None:
        if epoch is not None:
            raise RequestError("bad_request", "epoch needs after")
        return None
    cursor = Cursor(seq, epoch)
    check_cursor(cursor)
    return cursor


def _read_page(text: str | None) -> tuple[float, str] | None:
    if text is None:
        return None
    try:
        page = msgspec.json.decode(base64.b64decode(text.encode(), altchars=b"-_", validate=True), type=_Page)
    except (ValueError, msgspec.MsgspecError):
        raise RequestError("bad_request", "cursor is not one that this server gave") from None
    return page.updated_at, page.thread_id


def _write_page(row: ThreadRow) -> str:
    page = _Page(row.updated_at, row.key.thread_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(page)).decode()


def _run_info(thread_id: str, row: RunRow) -> answers.RunInfo:
    return answers.RunInfo(
        row.run_id,
        thread_id,
        row.agent,
        row.status,
        rfc3339(row.created_at),
        None if row.started_at is None else rfc3339(row.started_at),
        None if row.finished_at is None else rfc3339(row.finished_at),
        row.error,
    )
