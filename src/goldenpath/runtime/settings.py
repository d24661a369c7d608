"""Typed settings: built once at the start (by environ.py), frozen, passed in."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from goldenpath.wire.errors import GoldenpathError

NO_WAY_IN: Final = (
    "nobody new can log in: set GOLDENPATH_ISSUERS for an identity provider, or GOLDENPATH_REGISTRATION=true"
)
"""What an operator is told where `Settings.has_way_in` is false."""

Environment = Literal["local", "testing", "staging", "production"]


class SettingsError(GoldenpathError, ValueError):
    """A setting that is missing or wrong; the message names it and says what is allowed."""


class TierLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user of one tier may use at once."""

    max_running: int = 2
    max_queued: int = 16


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


def _default_tiers() -> dict[str, TierLimits]:
    return {
        "free": TierLimits(),
        "early": TierLimits(max_running=4),
        "mid": TierLimits(max_running=8, max_queued=32),
        "enterprise": TierLimits(max_running=16, max_queued=64),
    }


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
    registration: bool | None = None
    """Whether anyone may register; None: only in local and testing."""
    simulation_key: str | None = None
    """Who knows it may log in as simulated users; never in production."""
    access_token_ttl: float = 900.0
    """The life of an access token."""
    refresh_token_ttl: float = 30 * 86400.0
    """The life of a refresh token: how long somebody may stay away and still be logged in."""
    issuers: tuple[Issuer, ...] = ()
    """External identity providers whose tokens are accepted; see howto/identity-provider.md."""
    login_failures: int = 10
    """So many failed logins for one e-mail in `login_window` lock it."""
    login_window: float = 300.0
    """The time over which failed logins count."""
    password_workers: int = 2
    """Threads that hash passwords: a login storm takes no more than these."""

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
    max_connections_per_address: int | None = None
    """None: 256 in staging and production, no limit in local and testing."""
    max_attached_threads: int = 64
    """Threads that one WebSocket may follow."""
    max_bad_frames: int = 10
    """So many bad frames in a row close a WebSocket."""
    allowed_origins: tuple[str, ...] = ()
    """Origins beside the server's own that a browser may connect from, e.g. `https://app.example.com`."""

    # Runs
    tiers: dict[str, TierLimits] = msgspec.field(default_factory=_default_tiers)
    """What a user of each tier may use at once; an unknown tier has the limits of `free`."""
    max_engines: int = 5_000
    """Runs at once in the whole process."""
    max_waiting: int = 20_000
    """Runs that wait in the whole process."""
    run_timeout: float = 600.0
    """The longest life of a run."""
    queue_timeout: float = 600.0
    """The longest wait of a run for its place."""
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

    # The log
    commit_interval: float = 0.002
    """Commits start no more often than this: the first event goes at once, what follows goes together."""
    segment_bytes: int = 256 * 1024
    """How much of one active run stays in memory and journal before it moves to a segment."""
    cache_bytes: int = 64 << 20
    """Events of threads that nobody uses, kept in memory for those who come back."""
    retention_age: float = 90 * 86400.0
    """Events older than this are removed; the messages stay. A cursor there is told of a gap."""
    retention_bytes: int = 64 << 20
    """Events of one thread beyond this are removed, the oldest first."""
    retention_interval: float = 60.0
    """How often retention is enforced."""
    durability: Literal["process", "power"] = "process"
    """`process`: what was seen survives a killed process; `power`: also a power cut, for an fsync a commit."""

    # The built-in agents
    builtin_agents: bool | None = None
    """echo and scripted; None: only in local and testing."""
    openai_base_url: str | None = None
    """An OpenAI-compatible endpoint, the part before `/chat/completions`: offers the agent `openai`."""
    openai_model: str | None = None
    """The model to ask for."""
    openai_api_key: str | None = None
    """The endpoint's key, where it needs one."""

    @property
    def is_open(self) -> bool:
        """Whether this is an environment for people who build: local or testing."""
        return self.environment in ("local", "testing")

    @property
    def registration_open(self) -> bool:
        return self.is_open if self.registration is None else self.registration

    @property
    def has_way_in(self) -> bool:
        """Whether somebody new can get in: by registering, from an identity provider, or simulated."""
        simulation = self.simulation_key is not None and self.environment != "production"
        return self.registration_open or bool(self.issuers) or simulation

    @property
    def logs_for_people(self) -> bool:
        """Whether the log is text for people rather than JSON."""
        return self.log_format == "console" or (self.log_format == "auto" and self.environment == "local")

    @property
    def address_limit(self) -> int | None:
        """Connections of one address; None: no limit."""
        if self.max_connections_per_address is not None:
            return self.max_connections_per_address
        return None if self.is_open else 256

    @property
    def offers_builtin_agents(self) -> bool:
        return self.is_open if self.builtin_agents is None else self.builtin_agents

    @property
    def in_memory(self) -> bool:
        """Whether nothing is written to disk and nothing outlives the process."""
        return self.database == ":memory:"

    def tier(self, name: str) -> TierLimits:
        """The limits of a tier; an unknown one has those of `free`."""
        return self.tiers.get(name) or self.tiers.get("free") or TierLimits()

    def redacted(self) -> Settings:
        """The same settings with every secret replaced."""
        hidden = {
            name: "***" for name in ("secret", "simulation_key", "openai_api_key") if getattr(self, name) is not None
        }
        return msgspec.structs.replace(self, **hidden)


def data_path(settings: Settings, name: str) -> Path:
    """Where the file `name` of this server lives."""
    return Path(settings.data_dir) / name
