"""Typed settings: built once at the start (by environ.py), frozen, passed in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from goldenpath.runtime.profiles import ByEnvironment, cloud, scaled
from goldenpath.runtime.redaction import redact
from goldenpath.runtime.timeouts import FIT, HIERARCHY, LEVELS, Timeouts
from goldenpath.wire.errors import GoldenpathError

NO_WAY_IN: Final = (
    "nobody new can log in: set GOLDENPATH_ISSUERS for an identity provider, or GOLDENPATH_REGISTRATION=true"
)
"""What an operator is told where `Settings.has_way_in` is false."""

Environment = Literal["local", "testing", "staging", "production"]


SECRETS: Final = frozenset({"secret", "simulation_key", "openai_api_key", "deploy_hook"})
"""The settings that nobody is shown. Of every other setting the passwords within URLs are hidden."""


GenAi = Literal["1.36", "1.37"]
"""Versions of OpenTelemetry's conventions for generative AI that differ here: in 1.36 a provider is `gen_ai.system`,
from 1.37 on it is `gen_ai.provider.name`."""


class SettingsError(GoldenpathError, ValueError):
    """A setting that is missing or wrong; the message names it and says what is allowed."""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So much a second in the long run, and `burst` at once after a rest. Both above 0."""

    per_second: float
    burst: float


class TierLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user of one tier may use: at once, and (None: no limit) over time, on all connections together."""

    max_running: int = 2
    """Runs at once."""
    max_queued: int = 16
    """Runs that wait."""
    commands: Rate | None = None
    """Commands of WebSockets and HTTP calls."""
    bytes: Rate | None = None
    """Bytes of commands and of HTTP bodies."""
    runs: Rate | None = None
    """Runs accepted."""


class ServerRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all users together may do over time; None: no limit."""

    commands: Rate | None = None
    """Commands of WebSockets and HTTP calls with a token."""
    bytes: Rate | None = None
    """Bytes of commands and of HTTP bodies."""
    runs: Rate | None = None
    """Runs accepted."""
    logins: Rate | None = None
    """Log-ins and registrations tried."""


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An external identity provider whose access tokens are accepted, and how its claims map to ours."""

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...] = ("RS256",)
    user_claim: str = "sub"
    email_claim: str = "email"
    permissions_claim: str = "permissions"
    tier_claim: str = "tier"


_TIERS: Final = {
    "free": TierLimits(),
    "early": TierLimits(max_running=4),
    "mid": TierLimits(max_running=8, max_queued=32),
    "enterprise": TierLimits(max_running=16, max_queued=64),
}


def _with_rates(limits: TierLimits) -> TierLimits:
    """The limits with rates that nobody reaches who means well: twice a tier's places, twice its rates."""
    times = limits.max_running / 2
    return msgspec.structs.replace(
        limits,
        commands=Rate(50.0 * times, 500.0 * times),
        bytes=Rate(times * (1 << 20), times * (8 << 20)),
        runs=Rate(2.0 * times, 40.0 * times),
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. Durations are seconds, sizes bytes; None means not set.

    Field names are the setting's names; in the environment they are upper case with the prefix `GOLDENPATH_`.
    """

    environment: Environment = "local"
    """Where this server runs; some defaults depend on it."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8700
    """The port to listen on; 0 takes a free one."""
    uds: str | None = None
    """Path of a Unix socket to listen on instead of host and port."""
    tls_cert: str | None = None
    """File of the TLS certificate chain (PEM); with it the server speaks HTTPS and WSS."""
    tls_key: str | None = None
    """File of the certificate's key (PEM)."""
    data_dir: str = "goldenpath-data"
    """Where the database and the signing key are kept. One server at a time."""
    database: Literal["file", ":memory:"] = "file"
    """`file`: SQLite in `data_dir`; `:memory:`: nothing is written, and all is lost with the process, log-ins too."""
    trusted_proxies: str = ""
    """Proxies whose X-Forwarded-For is believed: addresses or networks, separated by commas, `unix`, or `*`."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """How `goldenpath serve` writes its log: `console` for people, `json` for machines; `auto`: console in local."""

    # Authentication
    secret: str | None = None
    """Signs the tokens, 32 bytes or more; staging and production need it. Not set: made and kept in the data folder."""
    registration: bool = cloud(False, local=True, testing=True)
    """Whether anyone may register."""
    simulation_key: str | None = None
    """Who knows it may log in as simulated users; never in production."""
    access_token_ttl: float = 900.0
    """The life of an access token."""
    refresh_token_ttl: float = 30 * 86400.0
    """The life of a refresh token: how long somebody may stay away and still be logged in."""
    issuers: tuple[Issuer, ...] = ()
    """External identity providers whose tokens are accepted; see howto/identity-provider.md."""
    operators: tuple[str, ...] = ()
    """E-mails of accounts that get the permission `operator` when they log in; nobody can register them."""
    login_failures: int = 10
    """So many failed logins for one e-mail in `login_window` lock it."""
    login_window: float = 300.0
    """The time over which failed logins count."""
    password_workers: int = 2
    """Threads that hash passwords: a login storm takes no more than these."""

    # Rates
    login_rate: Rate | None = cloud(Rate(0.2, 30.0), local=None, testing=None)
    """Log-ins and registrations tried for one e-mail, known or not; None: no limit but that of the failed ones."""
    login_failure_rate: Rate | None = cloud(Rate(0.1, 100.0), local=None, testing=None)
    """Log-ins and registrations that failed, from one address (of IPv6, one network of 64 bits); None: no limit."""
    server_rates: ServerRates = ServerRates()
    """What all users together may do over time, e.g. `{"runs":{"per_second":200,"burst":400}}`."""

    # Feature flags
    flags_file: str | None = None
    """The file with the rules of the feature flags; not set: `flags.toml` in the data folder."""
    flags_interval: float = 2.0
    """How often that file is looked at."""

    # Alerts
    alerts_file: str | None = None
    """File (TOML or JSON) of alert rules over those that ship, and of who is told; see howto/alerts.md."""

    # Roll-backs
    rollback_cool_down: float = 300.0
    """After a roll-back the server does nothing more by itself for so long: it may help."""
    deploy_hook: str | None = None
    """How the code is rolled back: a URL that is asked by POST, or a command, which no shell reads; see
    howto/rollback.md."""
    deploy_hook_timeout: float = 300.0
    """How long that may take."""
    automatic_code_rollback: bool = False
    """Whether the server may call the deploy hook by itself, where flags and time-outs did not help."""

    # Connections
    heartbeat: float = 25.0
    """After so much silence a WebSocket is pinged; after twice as much it is dropped."""
    write_timeout: float = 60.0
    """A client to whom nothing could be written for so long is disconnected."""
    max_message_bytes: int = 1 << 20
    """The largest WebSocket message from a client."""
    max_body_bytes: int = 1 << 20
    """The largest HTTP body."""
    max_connections: int = 20_000
    """WebSockets and SSE streams of the whole server."""
    max_connections_per_user: int = 32
    """WebSockets and SSE streams of one user."""
    max_connections_per_address: int | None = cloud(256, local=None, testing=None)
    """WebSockets and SSE streams of one address, of IPv6 one network of 64 bits; not set: no limit."""
    max_attached_threads: int = 64
    """Threads that one WebSocket may follow."""
    max_bad_frames: int = 10
    """So many bad frames in a row close a WebSocket."""
    allowed_origins: tuple[str, ...] = ()
    """Origins beside the server's own that a browser may connect from, e.g. `https://app.example.com`."""

    # Runs
    tiers: dict[str, TierLimits] = cloud(
        {name: _with_rates(limits) for name, limits in _TIERS.items()}, local=_TIERS, testing=_TIERS
    )
    """What a user of each tier may use, see howto/limits.md; an unknown tier has the limits of `free`."""
    max_engines: int = 5_000
    """Runs at once in the whole process."""
    max_waiting: int = 20_000
    """Runs that wait in the whole process."""
    cancel_grace: float = 2.0
    """How long a cancelled agent may clean up before its run is ended without it."""
    drain_timeout: float = 10.0
    """How long running runs may go on after SIGTERM."""
    max_event_bytes: int = 512 * 1024
    """The largest event that an agent may emit."""
    max_run_bytes: int = 64 << 20
    """All events of one run together."""
    max_history_bytes: int = 8 << 20
    """All messages of one thread together; a thread over it takes no new run."""

    # Time-outs: see timeouts.md
    run_timeout: float = 600.0
    """The longest life of a run, in all."""
    queue_timeout: float = 600.0
    """The longest wait of a run for its place."""
    factory_timeout: float = scaled(30.0)
    """How long it may take from a run's place to its agent's start: its history is read, its engine made."""
    websocket_recv_timeout: float = cloud(35.0, local=5.0, testing=15.0)
    """How long a received command or call may take to its answer; and above how long a run may be silent."""
    agent_execution_timeout: float = cloud(30.0, local=3.0, testing=10.0)
    """How long an agent may go without progress: no event, and nothing at work that has a time-out of its own."""
    tool_timeout: float = cloud(25.0, local=2.5, testing=8.0)
    """How long one call of a tool function may take that has no time-out of its own."""
    model_timeout: float = 60.0
    """How long a model endpoint may be silent."""
    model_connect_timeout: float = scaled(10.0)
    """How long it may take to connect to a model endpoint."""
    database_timeout: float = scaled(10.0)
    """How long one read of the database may take."""
    orchestration_timeout: float = scaled(30.0)
    """How long the start may take in all to look at what it depends on, and to wait for it to come up."""
    startup_timeout: float = scaled(20.0)
    """How long one round of the start's checks may take, all in parallel."""
    health_wait_timeout: float = cloud(30.0, local=3.0, testing=10.0)
    """How long the start waits for one service to become healthy."""
    health_check_timeout: float = cloud(20.0, local=2.0, testing=5.0)
    """How long one check of a service may take."""
    api_response_timeout: float = cloud(10.0, local=1.0, testing=3.0)
    """How long a service that is checked may take to one answer."""
    legacy_timeouts: bool = False
    """Kill switch: no time-out is shorter than in production, whatever else is set."""

    # What the server depends on: see howto/degradation.md
    breaker_recovery: float = cloud(10.0, local=5.0, testing=5.0)
    """So long after its circuit opened a dependency is tried again."""
    breaker_recovery_bound: float = cloud(30.0, local=10.0, testing=10.0)
    """While a dependency goes on failing, the time until it is tried again doubles up to this."""
    slow_model: float = 30.0
    """A model that takes longer than this until the first piece of its answer counts as slow."""
    shed_loop_lag: float | None = cloud(1.0, local=None, testing=None)
    """Where the event loop stays later than this for some seconds though `overload_lag` lets in as few as may be, the
    lowest tier is refused new runs; at 1.5 times all but the highest, at twice everybody. None: never."""

    # The event loop
    overload_lag: float | None = cloud(0.15, local=None, testing=None)
    """Where the event loop is later than this for some seconds, a part of the new runs is refused. None: never."""
    overload_wait: float | None = cloud(30.0, local=None, testing=None)
    """Where a new run would wait longer than this for one of `max_engines` places, the same. None: never."""
    stall_bound: float = 0.25
    """The event loop stands still when it does nothing else for so long: who blocked it is looked for. 0: never."""

    # Traces: see howto/health.md
    otel_traces: bool = False
    """Whether runs are traced with OpenTelemetry; needs the extra `otel`."""
    otel_genai: GenAi = "1.37"
    """The version of the conventions for generative AI that spans follow."""

    # The log
    commit_interval: float = 0.002
    """Commits start no more often than this: the first event goes at once, what follows goes together."""
    segment_bytes: int = 256 * 1024
    """How much of one active run stays in memory and journal before it moves to a segment."""
    cache_bytes: int = 64 << 20
    """What threads without a run keep in memory to be fast: their events and messages. The store has them anyway."""
    retention_age: float = 90 * 86400.0
    """Events older than this are removed; the messages stay. A cursor there is told of a gap."""
    retention_bytes: int = 64 << 20
    """Events of one thread beyond this are removed, the oldest first."""
    retention_interval: float = 60.0
    """How often retention is enforced."""
    durability: Literal["process", "power"] = "process"
    """`process`: what was seen survives a killed process; `power`: also a power cut, for an fsync a commit."""

    # The built-in agents
    builtin_agents: bool = cloud(False, local=True, testing=True)
    """Whether echo and scripted are offered."""
    openai_base_url: str | None = None
    """An OpenAI-compatible endpoint, the part before `/chat/completions`: offers the agent `openai`."""
    openai_model: str | None = None
    """The model to ask for."""
    openai_api_key: str | None = None
    """The endpoint's key, where it needs one."""

    def __post_init__(self) -> None:
        free = set()
        for name, default in BY_ENVIRONMENT.items():
            if getattr(self, name) is default:
                msgspec.structs.force_setattr(self, name, getattr(default, self.environment, default.production))
                free.add(name)
        self._fit(free)

    def _fit(self, free: set[str]) -> None:
        """Time-outs that nobody set give way to those that somebody did: first parents to their children, then children
        to their parents. What contradicts itself all the same is refused at the start."""
        lifted = set()
        for rule in reversed(HIERARCHY):
            parent, child = f"{rule.parent}_timeout", f"{rule.child}_timeout"
            seconds = getattr(self, child)
            given = child not in free or child in lifted
            if parent in free and given and math.isfinite(seconds) and not rule.holds(getattr(self, parent), seconds):
                msgspec.structs.force_setattr(self, parent, seconds / FIT if rule.strict else seconds)
                lifted.add(parent)
        for rule in HIERARCHY:
            parent, child = f"{rule.parent}_timeout", f"{rule.child}_timeout"
            seconds = getattr(self, parent)
            if child in free - lifted and not rule.holds(seconds, getattr(self, child)):
                msgspec.structs.force_setattr(self, child, seconds * FIT if rule.strict else seconds)

    @property
    def timeouts(self) -> Timeouts:
        """The time-outs that these settings ask for. Their hierarchy is not checked here."""
        asked = Timeouts(**{level: getattr(self, f"{level}_timeout") for level in LEVELS})
        return asked.at_least(LEGACY) if self.legacy_timeouts else asked

    @property
    def is_open(self) -> bool:
        """Whether this is an environment for people who build: local or testing."""
        return self.environment in ("local", "testing")

    @property
    def has_way_in(self) -> bool:
        """Whether somebody new can get in: by registering, from an identity provider, or simulated."""
        simulation = self.simulation_key is not None and self.environment != "production"
        return self.registration or bool(self.issuers) or simulation

    @property
    def logs_for_people(self) -> bool:
        """Whether the log is text for people rather than JSON."""
        return self.log_format == "console" or (self.log_format == "auto" and self.environment == "local")

    @property
    def in_memory(self) -> bool:
        """Whether nothing is written to disk and nothing outlives the process."""
        return self.database == ":memory:"

    @property
    def address(self) -> str:
        """Where this server listens, for people."""
        return self.uds or f"{self.host}:{self.port}"

    @property
    def flags_path(self) -> Path | None:
        """Where the rules of the feature flags are; None: in memory only."""
        if self.flags_file is not None:
            return Path(self.flags_file)
        return None if self.in_memory else data_path(self, "flags.toml")

    def tier(self, name: str) -> TierLimits:
        """The limits of a tier; an unknown one has those of `free`."""
        return self.tiers.get(name) or self.tiers.get("free") or TierLimits()

    def redacted(self) -> dict[str, Any]:
        """The settings as JSON has them, with every secret hidden, those within URLs too."""
        return redact(msgspec.to_builtins(self), SECRETS)


BY_ENVIRONMENT: Final[dict[str, ByEnvironment]] = {
    field.name: field.default for field in msgspec.structs.fields(Settings) if isinstance(field.default, ByEnvironment)
}
"""The settings whose default is the environment's."""

LEGACY: Final = Settings(environment="production").timeouts
"""The long time-outs of the cloud: what the kill switches and a roll-back of the time-outs put in force."""


def data_path(settings: Settings, name: str) -> Path:
    """Where the file `name` of this server lives."""
    return Path(settings.data_dir) / name
