"""What an operator is told of refused tokens: a client learns only that its token is not accepted."""

from __future__ import annotations

from typing import Final

import structlog

from goldenpath.wire.errors import RequestError

INTERVAL: Final = 10.0
"""Each check is told of no more often than this, in seconds, however many tokens it refuses."""
_SHOWN: Final = 200

_logger = structlog.get_logger("goldenpath.auth")


class TokenRefused(RequestError):
    """A token of an identity provider that is not accepted. `check` names what failed, for the log alone."""

    def __init__(self, check: str, message: str = "The access token is missing or not valid.") -> None:
        super().__init__("unauthorized", message)
        self.check = check


class Refusals:
    """Logs which checks refuse tokens, never the token. `now` is in Unix seconds. Belongs to the event loop."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def tell(self, check: str, issuer: str, now: float) -> None:
        """A token that names `issuer` failed `check`, which is one of a few."""
        if now - self._told.get(check, float("-inf")) < INTERVAL:
            return
        self._told[check] = now
        _logger.info("token_refused", check=check, issuer=issuer[:_SHOWN])
