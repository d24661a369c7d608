"""What of the secrets that users of the lab come with is kept out of what is stored and shown, wherever a target says
it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"
SHORTEST: Final = 6
"""Characters: what is shorter is in too many words to be looked for."""


class Hiding:
    """Knows values, and hides them. `known`: values, and what is shown instead of each; `tokens`: of users who are
    logged in, which may change."""

    def __init__(self, known: Mapping[str, str], tokens: Mapping[int, str] | None = None) -> None:
        forms = {form: shown for value, shown in known.items() for form in (value, quote(value, safe=""))}
        self._known = sorted(
            ((form, shown) for form, shown in forms.items() if len(form) >= SHORTEST), key=lambda each: -len(each[0])
        )
        self._bytes = [form.encode() for form, _ in self._known]
        self._tokens: Mapping[int, str] = {} if tokens is None else tokens

    @property
    def knows(self) -> bool:
        """Whether there are values besides tokens."""
        return bool(self._known)

    def text(self, text: str, user: int | None = None) -> str:
        """A text without them, and without the token of `user`."""
        for form, shown in self._known:
            text = text.replace(form, shown)
        token = self._token(user)
        return text.replace(token, HIDDEN).replace(quote(token, safe=""), HIDDEN) if token else text

    def answer(self, body: bytes, user: int) -> bytes:
        """The same for bytes, with as many asterisks as a value has bytes."""
        token = self._token(user).encode()
        body = self.piece(body)
        return body.replace(token, b"*" * len(token)) if token else body

    def piece(self, payload: bytes) -> bytes:
        """Without the values, as `answer`; tokens are left. It takes as long as to look for each value once."""
        for value in self._bytes:
            if value in payload:
                payload = payload.replace(value, b"*" * len(value))
        return payload

    def _token(self, user: int | None) -> str:
        token = "" if user is None else self._tokens.get(user, "")
        return token if len(token) >= SHORTEST else ""
