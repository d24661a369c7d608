"""`goldenpath doctor`: can this machine serve?"""

from __future__ import annotations

import asyncio
import platform
import resource
import shlex
import shutil
import sqlite3
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec
from rich.text import Text

from goldenpath.cli.admin import print_table
from goldenpath.cli.listener import AddressInUse, ListenError, check_tls, listen
from goldenpath.clock import SystemClock
from goldenpath.runtime.deadlines import Deadlines
from goldenpath.runtime.environ import load
from goldenpath.runtime.flags.control import rules_of
from goldenpath.runtime.flags.definition import FlagError
from goldenpath.runtime.settings import NO_WAY_IN, Settings, SettingsError
from goldenpath.runtime.startup import Finding, StartupState, look
from goldenpath.runtime.startup_checks import checks_of
from goldenpath.runtime.timeouts import CurrentTimeouts

PINNED_PICOWS = "2.3.1"
WANTED_FILES = 4096
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(*, config: str | None = None, assignments: Sequence[str] = (), **options: object) -> int:
    """Print what was found; the options are those of `serve`. Returns 0 when nothing stops the server, else 1."""
    findings = examine(config=config, assignments=assignments, **options)
    print_table(
        ("", "What", "Found", "What to do"),
        (
            (Text(finding.verdict, COLOURS[finding.verdict]), finding.what, finding.found, finding.advice)
            for finding in findings
        ),
        title="goldenpath doctor",
    )
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def examine(*, config: str | None = None, assignments: Sequence[str] = (), **options: object) -> list[Finding]:
    """Every check, in the order in which a start with these options would meet them."""
    try:
        settings = load(None, config=config, assignments=assignments, **options)
    except SettingsError as error:
        return [_python(), Finding("settings", "problem", str(error), "correct what is named, or unset it")]
    return [
        _python(),
        Finding("settings", "ok", f"environment {settings.environment}"),
        _sqlite(),
        *asyncio.run(_dependencies(settings)),
        *_flags(settings),
        *_deploy_hook(settings),
        _package("uvloop", "the event loop is slower without it"),
        _picows(),
        _open_files(),
        _tls(settings),
        _address(settings),
        _way_in(settings),
    ]


async def _dependencies(settings: Settings) -> list[Finding]:
    """What a start looks at, looked at once, all at the same time."""
    deadlines = Deadlines(SystemClock(), CurrentTimeouts(settings.timeouts))
    checks = checks_of(settings, deadlines, serving=False)
    state = StartupState([check.name for check in checks], grace_ends=0.0)
    results = await asyncio.gather(*(look(check, deadlines) for check in checks))
    for check, result in zip(checks, results, strict=True):
        state.found(check.name, result, now=0.0)
    for check in checks:
        finding = state.findings[check.name]
        if finding.verdict == "problem" and not check.required:  # the server starts without it
            state.findings[check.name] = msgspec.structs.replace(finding, verdict="warning")
    return list(state.findings.values())


def _python() -> Finding:
    # The package itself does not install on an older one.
    return Finding("Python", "ok", platform.python_version())


def _sqlite() -> Finding:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= (3, 35):
        return Finding("SQLite", "ok", found)
    return Finding("SQLite", "problem", found, "SQLite 3.35 or later is needed")


def _package(name: str, advice: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "warning", "not installed", advice)


def _picows() -> Finding:
    found = version("picows")
    if found == PINNED_PICOWS:
        return Finding("picows", "ok", found)
    return Finding("picows", "problem", found, f"install picows=={PINNED_PICOWS}: a private part of it is used")


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= WANTED_FILES:
        return Finding("open files", "ok", str(soft))
    return Finding("open files", "warning", str(soft), f"each connection is one: ulimit -n {WANTED_FILES} or more")


def _flags(settings: Settings) -> list[Finding]:
    path = settings.flags_path
    if path is None or (settings.flags_file is None and not path.exists()):
        return []
    try:
        rules = rules_of(settings)
    except FlagError as error:
        return [Finding("flags", "problem", str(error), "correct it: no server starts with it")]
    if not path.parent.is_dir():
        return [Finding("flags", "warning", f"there is no folder {path.parent}", "make it: nothing can be saved there")]
    return [Finding("flags", "ok", f"{path}, rules: {len(rules)}")]


def _deploy_hook(settings: Settings) -> list[Finding]:
    hook = settings.deploy_hook
    if hook is None:
        return []
    if hook.startswith(("http://", "https://")):
        return [Finding("deploy hook", "ok", "a URL; it is not asked before it is needed")]
    command = shlex.split(hook)[0]
    if shutil.which(command) is None:
        return [Finding("deploy hook", "warning", f"there is no command {command}", "correct GOLDENPATH_DEPLOY_HOOK")]
    return [Finding("deploy hook", "ok", command)]


def _tls(settings: Settings) -> Finding:
    try:
        check_tls(settings)
    except ListenError as error:
        return Finding("TLS", "problem", str(error), "correct GOLDENPATH_TLS_CERT and GOLDENPATH_TLS_KEY")
    return Finding("TLS", "ok", settings.tls_cert or "not here")


def _address(settings: Settings) -> Finding:
    where = settings.uds or f"{settings.host}:{settings.port}"
    if settings.uds is None:
        try:
            listen(settings).close()
        except AddressInUse as error:
            return Finding("address", "warning", str(error), "nothing to do if that is this server; else another port")
        except ListenError as error:
            return Finding("address", "problem", str(error), "take an address of this machine, a port that is allowed")
    if not settings.is_open and settings.host == "0.0.0.0" and settings.tls_cert is None:  # noqa: S104
        return Finding("address", "warning", where, "without TLS here, a proxy must end it")
    return Finding("address", "ok", where)


def _way_in(settings: Settings) -> Finding:
    if settings.has_way_in:
        return Finding("way in", "ok", "registration is open" if settings.registration else "log-in elsewhere")
    return Finding("way in", "warning", "registration is closed, and there is no issuer", NO_WAY_IN)
