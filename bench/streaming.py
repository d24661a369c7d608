"""One repetition of the reference workload against a fresh server: what most benchmarks measure."""

from __future__ import annotations

import gc

import uvloop

from bench.benchmark import Figures
from bench.crowd import Crowd
from bench.lab import target_of
from bench.server import Server, Side


def measure(
    side: Side,
    users: int,
    *,
    messages: int = 3,
    delay_ms: int = 0,
    over: float = 0.0,
    timeout: float = 90.0,
    arguments: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Figures:
    """Start a server, let `users` warm it up with one message each, then send `messages` each, and stop it."""
    with Server(side, arguments=arguments, environment=environment) as server:
        figures = uvloop.run(_measure(server, users, messages, delay_ms, over, timeout))
        figures["tracebacks"] = server.tracebacks()
    if figures["tracebacks"]:
        figures["clean"] = False
        figures["verdict"] += f"; {figures['tracebacks']} tracebacks in the server's log"
    return figures


async def _measure(server: Server, users: int, messages: int, delay_ms: int, over: float, timeout: float) -> Figures:
    async with Crowd(target_of(server), users) as crowd:
        await crowd.stream(1, timeout=timeout)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            tally, usage = await crowd.stream(
                messages, delay_ms=delay_ms, over=over, timeout=timeout, server=server.pid
            )
        finally:
            gc.enable()
            gc.unfreeze()
    return {
        "clean": crowd.clean,
        "verdict": crowd.verdict,
        "events": tally.events,
        "events_per_second": tally.events / usage.wall,
        "events_per_cpu_second": tally.events / max(1e-9, usage.server_cpu),
        "events_per_message": tally.events / max(1, tally.messages),
        "bytes_per_event": tally.received_bytes / max(1, tally.events),
        "cpu_us_per_event": usage.server_cpu / max(1, tally.events) * 1e6,
        "cpu_ms_per_run": usage.server_cpu / max(1, tally.completed) * 1e3,
        **tally.latencies(),
        **usage.figures(),
    }


def above_ideal(figures: Figures, ideal_first_ms: float, ideal_run_ms: float) -> Figures:
    """The latencies without what the workload itself takes."""
    return {
        f"{name}_{percent}_above_ms": figures[f"{name}_{percent}_ms"] - ideal
        for name, ideal in (("first_token", ideal_first_ms), ("run", ideal_run_ms))
        for percent in ("p50", "p95", "p99")
    }
