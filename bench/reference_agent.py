"""The reference workload as an agent: `goldenpath serve bench.reference_agent:app`.

`forwardedProps.delay_ms` of the run's input is the wait before each delta, in milliseconds (default 0).
"""

from __future__ import annotations

from bench import workload
from goldenpath import App, Run

app = App()


@app.agent(workload.AGENT, description="One simulated tool call, then 50 deltas of 8 characters.")
async def reference(run: Run) -> None:
    props = run.input.forwarded_props if isinstance(run.input.forwarded_props, dict) else {}
    delay = float(props.get("delay_ms", 0)) / 1000
    mark = workload.marker_of(run.user_text)
    async with run.tool_call(workload.TOOL) as call:
        await call.args(workload.tool_arguments(mark))
    await run.tool_result(call.id, workload.tool_answer(mark))
    async with run.message() as message:
        for delta in workload.deltas(mark):
            if delay:
                await run.clock.sleep(delay)
            await message.write(delta)
