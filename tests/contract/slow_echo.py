"""An app whose `echo`, which is what the lab asks, streams its answer over half a second."""

from __future__ import annotations

from goldenpath import App, Run

PIECE = 8
PAUSE = 0.02

app = App()


@app.agent("echo")
async def echo(run: Run) -> None:
    async with run.message() as message:
        for start in range(0, len(run.user_text), PIECE):
            await run.clock.sleep(PAUSE)
            await message.write(run.user_text[start : start + PIECE])
