"""The reference workload as an agent: `goldenpath serve bench.reference_agent:app`.

The question says how long it waits before each delta: `workload.prompt`.
"""

from __future__ import annotations

from bench import workload
from goldenpath import App, Run

app = App()


@app.agent(workload.AGENT, description="One simulated tool call, then 50 deltas of 8 characters.")
async def reference(run: Run) -> None:
    text = run.user_text
    delay, mark = workload.delay_of(text), workload.marker_of(text)
    async with run.tool_call(workload.TOOL) as call:
        await call.args(workload.tool_arguments(mark))
    await run.tool_result(call.id, workload.tool_answer(mark))
    async with run.message() as message:
        for delta in workload.deltas(mark):
            if delay:
                await run.clock.sleep(delay)
            await message.write(delta)
