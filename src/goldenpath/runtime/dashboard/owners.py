"""What operators call users whose ids they may not see: the same user always by the same name, which tells nothing."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

IDENTITIES: Final = "operator:identities"
"""The permission of operators who may see user, thread and run ids. One of its own, so that whoever looks after the
server need not learn who its users are."""


class Owners:
    """Names made of the server's secret: who does not have it cannot try user ids out."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(secret, digest_size=32, person=b"gp-owners").digest()

    def name(self, user_id: str, *, identities: bool) -> str:
        """The user id for whoever may see it, else the name that stands for it."""
        if identities:
            return user_id
        return "u-" + blake2b(user_id.encode(), key=self._key, digest_size=6).hexdigest()
