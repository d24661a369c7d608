"""Any chat that speaks JSON over a WebSocket, described by a small TOML file: the mapping."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from goldenpath.lab.formats.mapping import Reading, find, parts_of
from goldenpath.lab.frames import UNREADABLE
from goldenpath.lab.hiding import HIDDEN
from goldenpath.lab.records import Invoke
from goldenpath.lab.target import Ability, Sink, TargetError
from goldenpath.lab.targets.placeholders import each_text, filled, placeholders, with_variables
from goldenpath.lab.targets.secrets import (
    secrets_of_header,
    secrets_of_json,
    secrets_of_url,
    texts_but_tokens,
    without_parameters,
)
from goldenpath.lab.targets.sockets import SocketClient
from goldenpath.lab.targets.web import Web, quoted, raise_for_status

_MEANINGS: Final = ("ignore", "start", "delta", "end", "error")


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An HTTP request that each user makes first. `{user}` becomes their number."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    json: Any = None
    """The body; absent: there is none."""
    token: str = ""
    """The path of the token in the answer, for `{token}`; empty: the answer has to be 2xx, that is all."""


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Messages that the server sends of its own accord, and takes a client for gone that does not answer them. (Those
    of WebSocket itself, ping and pong, are answered in any case.)"""

    kinds: list[str]
    """Of `read.kind`; they mean nothing else."""
    answer: dict[str, Any]
    """What is sent back. `{user}` and `{token}` are filled in."""
    repeat: list[str] = []
    """Names of values of the message that the answer has, too, just as they are; one that is missing is left out."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping. `{user}` (their number) and `{token}` are filled in in `url` and `headers`; in `send` these and
    `{text}`, `{thread}` and `{run}`, too. `${NAME}` anywhere is a variable of the environment."""

    url: str
    """Of the WebSocket: ws:// or wss://."""
    send: dict[str, Any]
    """The message that asks."""
    read: Reading
    headers: dict[str, str] = {}
    """Of the upgrade."""
    subprotocols: list[str] = []
    login: Login | None = None
    heartbeat: Heartbeat | None = None
    echo: bool = False
    """Whether the answer to a text is the same text."""


def load(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that a mapping file gives, and what of them is to be hidden (`goldenpath.lab.hiding`). Raises
    ValueError that names the file and the key, in one line."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        written = tomllib.loads(text)
        given = each_text(written, "", with_variables)
        options = msgspec.convert(given, Options)
        check(options)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: no TOML: {error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise ValueError(f"{path}: {where.rstrip('`') or 'the file'}: {what}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return given, _secrets(written)


def _secrets(written: dict[str, Any]) -> dict[str, str]:
    found = secrets_of_json(written)
    for part in (written, written.get("login", {})):
        found |= secrets_of_url(part.get("url", ""))
        for name, value in part.get("headers", {}).items():
            found |= secrets_of_header(name, value)
    return found


def check(options: Options) -> None:
    """Raise ValueError for a mapping that contradicts itself."""
    if urlsplit(options.url).scheme not in ("ws", "wss") or not urlsplit(options.url).netloc:
        raise ValueError(f"url: expected ws://... or wss://..., got {without_parameters(options.url)!r}")
    login, read = options.login, options.read
    reachable = {"user", "token"} if login is not None and login.token else {"user"}
    placeholders(options.url, "url", reachable)
    placeholders(options.headers, "headers", reachable)
    used = placeholders(options.send, "send", reachable | {"text", "thread", "run"})
    if login is not None:
        if urlsplit(login.url).scheme not in ("http", "https"):
            raise ValueError(f"login.url: expected http://... or https://..., got {without_parameters(login.url)!r}")
        placeholders(login.headers, "login.headers", {"user"})
        placeholders(login.json, "login.json", {"user"})
    beat = options.heartbeat
    if beat is not None:
        placeholders(beat.answer, "heartbeat.answer", reachable)
        if not beat.kinds:
            raise ValueError("heartbeat.kinds: expected at least one, got none")
        for meaning in _MEANINGS:
            for kind in beat.kinds:
                if kind in getattr(read, meaning):
                    raise ValueError(f"heartbeat.kinds: {kind!r} stands in read.{meaning}, too")
    for name, why in (
        ("text", "nothing would be asked"),
        ("thread", "read.thread expects it back") if read.thread else ("", ""),
        ("run", "read.run expects it back") if read.run else ("", ""),
    ):
        if name and name not in used:
            raise ValueError(f"send: expected {{{name}}} somewhere: {why}")
    for name in ("kind", "text", "delta", "end"):
        if not getattr(read, name):
            raise ValueError(f"read.{name}: expected at least one, got none")
    for kind in read.ignore:
        for meaning in _MEANINGS[1:]:
            if kind in getattr(read, meaning):
                raise ValueError(f"read.ignore: {kind!r} stands in read.{meaning}, too")


def _token(body: bytes, path: str) -> str:
    """The token in the answer to a login. Raises `TargetError`, without the token wherever else it is."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        raise TargetError("garbage", f"the answer to the login is no JSON: {quoted(body)}") from None
    token = find(answer, parts_of(path))
    if not isinstance(token, str) or not token:
        names = ", ".join(answer) if isinstance(answer, dict) else type(answer).__name__
        raise TargetError("garbage", f"there is no {path} in the answer to the login, which has {names or 'nothing'}")
    return token


def _texts(body: bytes) -> Iterator[bytes]:
    """What the answer to a login says, one by one, so that nothing secret beside it is kept with it."""
    try:
        texts = list(texts_but_tokens(msgspec.json.decode(body)))
    except UNREADABLE:
        texts = [body.decode(errors="replace")]
    yield from (text.encode(errors="replace") for text in texts)


class WebsocketTarget:
    """One chat."""

    format = "mapping"

    def __init__(self, options: Options) -> None:
        check(options)
        self.options = options
        beats = options.heartbeat.kinds if options.heartbeat is not None else []
        self.format_options: Mapping[str, Any] = msgspec.to_builtins(
            msgspec.structs.replace(options.read, ignore=[*options.read.ignore, *beats])
        )
        abilities: set[Ability] = {"connect"}
        if options.login is not None:
            abilities.add("login")
        if options.echo:
            abilities.add("echo")
        self.abilities: frozenset[Ability] = frozenset(abilities)
        origin = urlsplit(options.url)
        self.web = Web(f"http{origin.scheme.removeprefix('ws')}://{origin.netloc}")
        self.login_web = Web(options.login.url) if options.login is not None else None
        self.tokens: dict[int, str] = {}
        """Of the users who are logged in."""

    async def open(self) -> None:
        """Any answer to plain HTTP shows that it is there."""
        await self.web.reach("/")

    def client(self, user: int, viewer: int, sink: Sink) -> WebsocketClient:  # noqa: ARG002 - nothing outlives a connection
        return WebsocketClient(self, user, sink)

    async def login(self, user: int, op: int, sink: Sink) -> None:
        """Make a user's request, and keep the token of its answer."""
        login = self.options.login
        if login is None or self.login_web is None:
            return
        values = {"user": str(user)}
        status, body = await self.login_web.request(
            login.method,
            "",
            json=filled(login.json, values),
            headers=filled(login.headers, values),
            overhear=partial(sink.overheard, user),
        )
        sink.answered(user, op, status, HIDDEN.encode() if status < 300 else body)  # no tokens in a history
        raise_for_status(status, body)
        if login.token:
            self.tokens[user] = _token(body, login.token)
        for text in _texts(body):
            sink.overheard(user, "the answer to the login", text)

    async def close(self) -> None:
        await self.web.close()
        if self.login_web is not None:
            await self.login_web.close()


class WebsocketClient(SocketClient):
    """One viewer. Where answers do not say which question they belong to, it gives the connection up when an answer did
    not end: what still comes could not be told from the next one."""

    def __init__(self, target: WebsocketTarget, user: int, sink: Sink) -> None:
        super().__init__(user, None, sink)
        self.target = target
        self.in_turn = not target.options.read.run
        self._asked = (0, 0)
        """What was asked last, and over which connection."""
        if target.options.heartbeat is not None:
            self._kind = parts_of(target.options.read.kind)
            self.on_message = self._answer_heartbeat

    def _values(self) -> dict[str, str]:
        return {"user": str(self.user), "token": self.target.tokens.get(self.user, "")}

    async def login(self, op: Invoke) -> None:
        await self.target.login(self.user, op.op, self.sink)

    async def connect(self) -> None:
        options, values = self.target.options, self._values()
        headers = filled(options.headers, values)
        if options.subprotocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(options.subprotocols)
        await self.open(filled(options.url, {name: quote(value, safe="") for name, value in values.items()}), headers)

    async def ask(self, op: Invoke) -> None:
        self._asked = op.op, self.connection
        self.send(
            filled(self.target.options.send, self._values() | {"text": op.text, "thread": op.thread, "run": op.run})
        )

    def _answer_heartbeat(self, payload: bytes) -> None:
        """Send what the mapping says, where the message is a heartbeat."""
        beat = self.target.options.heartbeat
        assert beat is not None
        try:
            message = msgspec.json.decode(payload)
        except UNREADABLE:
            return  # the judge says so
        if str(find(message, self._kind)) not in beat.kinds:
            return
        repeated = {name: message[name] for name in beat.repeat if name in message}
        with suppress(TargetError):  # it is gone, and told so
            self.send({**filled(beat.answer, self._values()), **repeated})

    def settled(self, op: Invoke, *, ended: bool) -> None:
        if self.in_turn and not ended and self._asked == (op.op, self.connection):
            self.drop()
