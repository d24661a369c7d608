"""The chat page, the operator page and their files, held in memory: a path is looked up, never opened.

A page says how one can log in, which depends on the settings; everything else of it is the same everywhere.
"""

from __future__ import annotations

import hashlib
import html
import mimetypes
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from goldenpath.runtime.gateway.request import Answer, Request
from goldenpath.runtime.gateway.routes import Route
from goldenpath.runtime.settings import Settings
from goldenpath.vendor import uplot
from goldenpath.wire.errors import RequestError

_POLICY: Final = (
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
PAGE_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Kept by browsers, but asked for again each time: a new version is seen at once, an old one costs a 304.
    (b"cache-control", b"no-cache"),
)
_CHAT: Final = "chat.html"
_DASHBOARD: Final = "dashboard.html"
_LOGIN: Final = "login.html"
_LOGIN_PLACE: Final = b"<!-- login.html -->"
"""Stands in a page where the login belongs, which is the same in all of them."""
_WAYS_IN: Final = b'data-registration="" data-issuers=""'
"""Stands in the login where the ways to log in belong."""


class Pages:
    """The files of one server's pages."""

    def __init__(self, settings: Settings) -> None:
        registration = "open" if settings.registration else "closed"
        issuers = html.escape(" ".join(each.issuer for each in settings.issuers))
        self._ways_in = f'data-registration="{registration}" data-issuers="{issuers}"'.encode()

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", "chat", "The chat page", 200, "pages", open=self.chat, media_type="text/html"),
            Route(
                "GET", "/dashboard", "dashboard", "The operator page", 200, "pages", open=self.dashboard,
                media_type="text/html",
            ),
            Route(
                "GET", "/assets/{path:path}", "asset", "A file of the pages", 200, "pages", errors=("not_found",),
                open=self.asset, media_type="*/*",
            ),
        ]  # fmt: skip

    async def chat(self, request: Request) -> Answer:
        return _fresh(self._files[_CHAT], request)

    async def dashboard(self, request: Request) -> Answer:
        return _fresh(self._files[_DASHBOARD], request)

    async def asset(self, request: Request) -> Answer:
        found = self._files.get(request.path["path"])
        if found is None:
            raise RequestError("not_found", "there is no such file")
        return _fresh(found, request)

    @cached_property
    def _files(self) -> dict[str, Answer]:
        pages = files("goldenpath.runtime.gateway") / "pages"
        login = (pages / _LOGIN).read_bytes().replace(_WAYS_IN, self._ways_in)
        found = {}
        for path, entry in (*_walk(pages, ""), *_walk(uplot(), "uplot/")):
            body = entry.read_bytes()
            found[path] = _file(path, body.replace(_LOGIN_PLACE, login) if path in (_CHAT, _DASHBOARD) else body)
        return found


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry))
    return found


def _file(path: str, body: bytes) -> Answer:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
    return Answer(200, body, kind.encode(), (*PAGE_HEADERS, (b"etag", tag)))


def _fresh(found: Answer, request: Request) -> Answer:
    """The file, or 304 where the client holds the same one."""
    held = [tag.strip().removeprefix("W/") for tag in (request.header(b"if-none-match") or "").split(",")]
    if "*" in held or dict(found.headers)[b"etag"].decode() in held:
        return Answer(304, headers=found.headers)
    return found
