"""What the HTTP calls take and answer, beside AG-UI's own shapes. Times are RFC 3339 UTC; an absent value is null."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from goldenpath.wire.messages import ResumeEntry


def _described(**schema: Any) -> msgspec.Meta:
    """What the OpenAPI document says of a field. The call itself checks it, and knows which error a wrong one is."""
    return msgspec.Meta(extra_json_schema=schema)


_Email = Annotated[str, _described(format="email", maxLength=254)]
_Printable = Annotated[str, _described(pattern="^[!-~]{1,128}$")]


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """`password` has 8 to 1,024 bytes."""

    email: _Email
    password: Annotated[str, _described(minLength=2, maxLength=1024)]  # JSON Schema counts characters, not bytes


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: str


class SimulateRequest(msgspec.Struct, forbid_unknown_fields=True):
    email: _Email
    permissions: list[_Printable] | None = None
    tier: _Printable | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What register, login, refresh and simulate answer. `expires_in` is the access token's life in seconds, counted
    from its issue."""

    user_id: str
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: float


class Me(msgspec.Struct, frozen=True):
    """What a user may know of themselves."""

    user_id: str
    email: str | None
    permissions: list[str]
    tier: str


class AgentInfo(msgspec.Struct):
    name: str
    description: str


class Agents(msgspec.Struct):
    agents: list[AgentInfo]


class ThreadSummary(msgspec.Struct):
    thread_id: str
    created_at: str
    updated_at: str
    head: int


class Threads(msgspec.Struct):
    threads: list[ThreadSummary]
    next_cursor: str | None


class RunSummary(msgspec.Struct):
    run_id: str
    status: str


class ThreadInfo(msgspec.Struct):
    thread_id: str
    created_at: str
    updated_at: str
    epoch: str
    head: int
    runs: list[RunSummary]


class Messages(msgspec.Struct):
    """`messages` are AG-UI messages, complete up to event `seq`."""

    thread_id: str
    epoch: str
    seq: int
    messages: list[msgspec.Raw]


class RunEnd(msgspec.Struct):
    """How one run ended: its terminal event and that event's `seq`.

    `after`: the ids of the messages and tool calls that began last before it, the last first. `resume`: what the run
    answered, null where it answered nothing or that is not held any more. `answers`: where the run asked, or left tool
    calls to the client, what the next run brought for it (by interrupt or tool call); null while none has begun.
    """

    run_id: str
    seq: int
    event: msgspec.Raw
    after: list[str]
    resume: list[ResumeEntry] | None
    answers: list[ResumeEntry] | None


class Ends(msgspec.Struct):
    """`ends` are those of the runs that did not just finish, in the order of the log. `complete`: whether none is left
    out; false where the oldest are, because they are too many, too large or not held any more.
    """

    thread_id: str
    epoch: str
    ends: list[RunEnd]
    complete: bool


class RunInfo(msgspec.Struct):
    run_id: str
    thread_id: str
    agent: str
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None


class ActionInfo(msgspec.Struct):
    """One change that an operator made, or the server for them: `actor` did `action` to `subject` of `area`.

    `actor` is a user id, `file` for a file that was edited, or `server` for what the server does by itself.
    """

    number: int
    at: str
    actor: str
    area: str
    action: str
    subject: str
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    why: str


class ActionInfos(msgspec.Struct):
    """Newest first."""

    actions: list[ActionInfo]
    next_cursor: str | None


class AlertInfo(msgspec.Struct):
    """How one alert stands. `since` is when its signal began to be wrong; null: it is not."""

    name: str
    state: str
    severity: str
    actions: tuple[str, ...]
    summary: str
    signal: str
    bound: str
    value: float | None
    since: str | None


class AlertChange(msgspec.Struct):
    """An alert that fired at `at`, or was resolved then."""

    alert: str
    state: str
    value: float | None
    since: str
    at: str


class AlertDelivery(msgspec.Struct):
    """Messages to receivers: how many wait, and what became of those since the server's start."""

    waiting: int
    delivered: int
    failed: int
    given_up: int


class AlertReceiver(msgspec.Struct):
    """One receiver: what it takes, and what became of its messages. `problem`: why the last attempt to tell it failed;
    null: it did not, or there was none yet."""

    name: str
    takes: tuple[str, ...]
    waiting: int
    delivered: int
    failed: int
    given_up: int
    problem: str | None


class AlertInfos(msgspec.Struct):
    """All alerts, those that fire first; what fired and was resolved since the server's start, newest first."""

    alerts: list[AlertInfo]
    history: list[AlertChange]
    receivers: list[str]
    delivery: AlertDelivery
    told: list[AlertReceiver]


class AlertTest(msgspec.Struct):
    """Who is told by a test."""

    receivers: list[str]


class Account(msgspec.Struct, frozen=True):
    user_id: str
    email: str


_Stage = Literal["off", "internal", "canary", "staged", "full"]
_Environment = Literal["local", "testing", "staging", "production"]


class SetFlag(msgspec.Struct, forbid_unknown_fields=True):
    """Who is in, and what they get; see docs/howto/flags.md. `percent` goes before the stage's share."""

    why: Annotated[str, _described(minLength=1, maxLength=500)]
    stage: _Stage | None = None
    percent: float | None = None
    variant: str | None = None
    tiers: list[str] | None = None
    environments: list[_Environment] | None = None


class FlagRule(msgspec.Struct):
    stage: str
    percent: float | None
    variant: str | None
    tiers: list[str]
    environments: list[str]
    why: str
    by: str


class FlagInfo(msgspec.Struct):
    """`variants`: null for a boolean flag. `rule`: null where everybody gets the default."""

    name: str
    description: str
    default: bool | str
    variants: dict[str, Any] | None
    rule: FlagRule | None


class FlagInfos(msgspec.Struct):
    """`unknown`: flags that have rules but that nobody declares. `file`: where the rules are kept, null: nowhere.
    `problem`: what is wrong with it, while the rules from before hold."""

    flags: list[FlagInfo]
    unknown: list[str]
    file: str | None
    problem: str | None


class FlagChange(msgspec.Struct):
    """`changed`: whether it was another rule before. `saved`: whether the change outlives the process."""

    flag: FlagInfo
    changed: bool
    saved: bool


_Reason = Annotated[str, _described(minLength=1, maxLength=500)]


class Why(msgspec.Struct, forbid_unknown_fields=True):
    why: _Reason


class RollBack(msgspec.Struct, forbid_unknown_fields=True):
    """`flags`: the kill switches of the time-outs on, everything that is being rolled out off. `timeouts`: production's
    for new work. `code`: the deploy hook is called, and answered before it ends."""

    level: Literal["flags", "timeouts", "code"]
    why: _Reason


class Incident(msgspec.Struct, forbid_unknown_fields=True):
    severity: Literal["P0", "P1", "P2", "P3", "P4"]
    why: _Reason


class RollbackStatus(msgspec.Struct):
    """`in_effect`: what is rolled back. `automatic`: whether the server does so by itself; not within `cool_down`
    seconds. `triggers`: what is wrong now. `timeouts`: those of new work, in seconds. `deploy_hook_failed`: how the
    last call of the hook since the start failed, e.g. `exit code 1`; null: it did not, or there was none."""

    in_effect: list[str]
    automatic: bool
    cool_down: float
    triggers: dict[str, str]
    deploy_hook: Literal["none", "ready", "running"]
    deploy_hook_failed: str | None
    timeouts: dict[str, float]


class Undone(msgspec.Struct):
    """The roll-back of this `number` in the journal is undone. `restored`: flags that have their rules of before;
    `kept`: those that stay as they are, because somebody changed them since, or the app has no such flag any more."""

    number: int
    level: str
    restored: list[str]
    kept: list[str]


class RecentRun(msgspec.Struct):
    """A run as operators see it. `number`: what its timeline is asked for by. `owner`: a name that tells nothing, or
    the user id for whoever may see it. `queue_wait`, `first_words` (from the acceptance), `duration` (from its begin,
    so far where it has not ended): seconds; null: not yet, or never. `timed_out`: which time-out ended it."""

    number: int
    owner: str
    agent: str
    status: str
    accepted_at: str
    queue_wait: float
    first_words: float | None
    duration: float | None
    events: int
    bytes: int
    error: str | None
    timed_out: str | None


class RecentRuns(msgspec.Struct):
    """`active`: have not ended, the newest first. `ended`: the last that ended first."""

    active: list[RecentRun]
    ended: list[RecentRun]


class RunMoment(msgspec.Struct):
    """What happened `after` so many seconds from the acceptance."""

    what: str
    after: float


class RunStep(msgspec.Struct):
    """A tool call (`tool`), a call of what the run depends on (`call`), or a step that the agent named (`step`). Times
    are seconds from the run's acceptance; `ended` null: not yet, or the agent did not say."""

    kind: Literal["tool", "call", "step"]
    name: str
    began: float | None
    ended: float | None
    failed: bool


class RunTimeline(msgspec.Struct):
    """One run: when what happened, without a word of what was said. `thread_id` and `run_id`: null for whoever may not
    see them. `steps_dropped`: further steps that were not kept."""

    run: RecentRun
    tier: str
    thread_id: str | None
    run_id: str | None
    moments: list[RunMoment]
    steps: list[RunStep]
    steps_dropped: int


class TopUser(msgspec.Struct):
    """What one user causes: connections now, and what was accepted, said and sent by their runs in the last minute."""

    owner: str
    connections: int
    runs: int
    events: int
    bytes: int


class DependencyInfo(msgspec.Struct):
    """Something that the server depends on, as it was found at the start, or since."""

    what: str
    verdict: str
    found: str


class ServiceInfo(msgspec.Struct):
    """What the server is, and whether it keeps what it promises: `breaches` names the service levels that it does not.
    `viewers`: how many look at the live view."""

    version: str
    environment: str
    state: Literal["ready", "not_ready", "draining"]
    log_healthy: bool
    breaches: list[str]
    dependencies: list[DependencyInfo]
    viewers: int
