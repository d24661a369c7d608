"""An app whose agent goes on only as far as a test lets it: tests wait for nothing, and no machine is too slow."""

from __future__ import annotations

import asyncio

from goldenpath import App, Run

COUNT = " ".join(str(number) for number in range(300))
PIECE = 8
app = App()


@app.agent("gated", description="Says its text a piece at a time, each when a test says so.")
async def gated(run: Run) -> None:
    """The message is `PORT` or `PORT TEXT`. At that port a test sends a byte for each piece; its end frees the rest."""
    port, _, text = run.user_text.partition(" ")
    text = text or COUNT
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    run.on_cleanup(writer.close)
    async with run.step("Wait for the test"):
        free = await reader.read(1) == b""
    async with run.message() as message:
        for start in range(0, len(text), PIECE):
            free = free or await reader.read(1) == b""
            await message.write(text[start : start + PIECE])
