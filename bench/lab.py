"""The lab's engine in this process: what a worker process of the lab has, with or without a history on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench import workload
from bench.returning import BehindNetwork, Network
from bench.server import Server
from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.checkers import standard_checkers
from goldenpath.lab.formats import make_format
from goldenpath.lab.history import HistoryWriter
from goldenpath.lab.judge import Judge
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.target import Ability
from goldenpath.lab.targets.goldenpath import GoldenpathTarget, Options
from goldenpath.lab.user import User

WITHOUT_HTTP: frozenset[Ability] = frozenset(("connect", "intrude"))
"""Of a server that has only a WebSocket: nobody logs in."""


def target_of(server: Server, network: Network | None = None) -> GoldenpathTarget:
    """A server that runs the reference workload, ours or another that speaks as much of our protocol. `network` None:
    its users reach it at once."""
    options = Options(url=server.url, simulation_key=server.simulation_key, agent=workload.AGENT)
    target = GoldenpathTarget(options) if network is None else BehindNetwork(options, network)
    target.abilities |= {"echo"}  # the answer to a text is known
    return target


def without_http(url: str) -> GoldenpathTarget:
    """A server that has only the WebSocket of our protocol."""
    target = GoldenpathTarget(Options(url=url))
    target.abilities = WITHOUT_HTTP
    return target


class Lab:
    """Users, checkers and what is between them. `checkers` see the history besides the standard ones; `resumes` and
    `patience` are of the users. Belongs to the event loop it is made on."""

    def __init__(
        self,
        target: GoldenpathTarget,
        *,
        checkers: Sequence[Checker] = (),
        writer: HistoryWriter | None = None,
        resumes: bool = False,
        patience: float = 60.0,
    ) -> None:
        self.target = target
        self._writer = writer
        canaries, progress = Canaries("bench"), Progress()
        format_ = make_format(target.format, target.format_options)
        self.judge = Judge(format_, [*standard_checkers(format_, canaries), *checkers, progress])
        self.recorder = Recorder(self.judge, writer)
        self.user = partial(
            User,
            target=target,
            recorder=self.recorder,
            progress=progress,
            canaries=canaries,
            seed=1,
            resumes=resumes,
            patience=patience,
        )
        """A user by their number."""

    def wrong(self) -> list[str]:
        """What was found that is not there. There is no more to find afterwards."""
        findings = [finding for finding in self.judge.findings() if finding.counts or finding.broken]
        return [
            f"{finding.checker}: {finding.broken or finding.counts}"
            f" {finding.violations[0].witness if finding.violations else ''}".rstrip()
            for finding in findings
        ]

    async def close(self) -> None:
        """Let go of the target, and of the history."""
        await self.target.close()
        if self._writer is not None:
            self._writer.close()
