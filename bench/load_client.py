"""The load client itself: does it catch every fault, and how many events can it check?"""

from __future__ import annotations

from bench.benchmark import Benchmark, Figures, Options, Row, run_module
from bench.load import selfcheck
from bench.server import Side
from bench.streaming import measure

TOGETHER = (1, 8, 58)


def sample(side: Side, options: Options) -> Figures:
    cases, wrong = selfcheck.run()
    figures: Figures = {"clean": not wrong, "verdict": f"judged wrong: {', '.join(wrong) or 'none'}", "cases": cases}
    for together in TOGETHER:
        measured = measure(side, 100, messages=options.pick(60, 6), arguments=("--together", str(together)))
        figures["clean"] = figures["clean"] and measured["clean"]
        figures["verdict"] += f"; {measured['verdict']}"
        figures[f"checked_{together}"] = measured["events_per_second"] / measured["client_busy"]
    return figures


BENCHMARK = Benchmark(
    name="load_client",
    title="The load client",
    about="A server that sends prepared frames as fast as it can, 1, 8 and 58 in a WebSocket message; events per second"
    " of CPU of the client, every event checked. Before that, streams with one fault each, which it must catch.",
    sides=("replay",),
    rows=(
        Row("cases", "cases of the self-check, all judged right", "", "higher", digits=0),
        *(
            Row(
                f"checked_{together}",
                f"events checked per CPU second, {together} in a message",
                "1/s",
                "higher",
                digits=0,
            )
            for together in TOGETHER
        ),
    ),
    sample=sample,
    repetitions=3,
)

if __name__ == "__main__":
    run_module(BENCHMARK)
