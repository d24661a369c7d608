"""Goldenpath serves AI agents to many users at once, isolated from each other, on logs that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goldenpath.version import __version__

__all__ = ["App", "Principal", "RequestError", "Run", "Settings", "SyncRun", "UserExecutionContext", "__version__"]

if TYPE_CHECKING:
    from goldenpath.runtime.app import App
    from goldenpath.runtime.context import Principal, UserExecutionContext
    from goldenpath.runtime.run import Run
    from goldenpath.runtime.settings import Settings
    from goldenpath.runtime.sync_run import SyncRun
    from goldenpath.wire.errors import RequestError

_HOMES = {
    "App": "goldenpath.runtime.app",
    "Principal": "goldenpath.runtime.context",
    "RequestError": "goldenpath.wire.errors",
    "Run": "goldenpath.runtime.run",
    "Settings": "goldenpath.runtime.settings",
    "SyncRun": "goldenpath.runtime.sync_run",
    "UserExecutionContext": "goldenpath.runtime.context",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the client does not load the server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_HOMES[name]), name)
