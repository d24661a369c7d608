"""The test's side of the gated agent."""

from __future__ import annotations

import socket
from typing import Self

from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.gated_app import COUNT, PIECE


class Gate:
    """An answer that comes only as far as it is let. `text` is the whole of it."""

    def __init__(self, chat: ChatPage, text: str = COUNT) -> None:
        self.text = text
        self._chat = chat
        self._shown = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._agent: socket.socket | None = None
        port = self._listener.getsockname()[1]
        chat.say(str(port) if text == COUNT else f"{port} {text}", agent="gated")

    def start(self) -> Self:
        """Wait until the agent runs, and let it begin its message. Again after a server died: for the next run."""
        self._listener.settimeout(30)
        self.free()
        self._shown = 0
        self._agent, _ = self._listener.accept()
        self._agent.sendall(b".")
        return self

    def let(self, pieces: int) -> str:
        """Let so many more pieces through. Returns what has been said by then."""
        assert self._agent is not None
        self._agent.sendall(b"." * pieces)
        self._shown += pieces
        return self.text[: self._shown * PIECE]

    def show(self, pieces: int) -> str:
        """Let them through, and see them on the page: exactly them."""
        said = self.let(pieces)
        expect(self._chat.answers.last).to_have_text(said.strip())
        return said

    def free(self) -> None:
        """Let everything through."""
        if self._agent is not None:
            self._agent.close()

    def close(self) -> None:
        self.free()
        self._listener.close()
