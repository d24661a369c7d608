"""A real identity provider on this machine: keys served over HTTP as a JWKS document, and tokens signed with them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

AUDIENCE = "goldenpath-api"


class SigningKey:
    """A private key, what a JWKS document says of it, and the tokens it signs."""

    def __init__(self, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, algorithm: str) -> None:
        self.private = private
        self.kid = kid
        self.algorithm = algorithm

    @classmethod
    def rsa(cls, kid: str, bits: int = 2048) -> SigningKey:
        return cls(rsa.generate_private_key(65537, bits), kid, "RS256")

    @classmethod
    def ec(cls, kid: str) -> SigningKey:
        return cls(ec.generate_private_key(ec.SECP256R1()), kid, "ES256")

    def jwk(self, **members: Any) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            described = RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            described = ECAlgorithm.to_jwk(public, as_dict=True)
        described.pop("key_ops", None)
        return {**described, "kid": self.kid, "use": "sig", "alg": self.algorithm, **members}

    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid, **headers})


class KeyServer:
    """What the provider does now: `keys` are served while `up`; `gate`, when set, holds answers back."""

    def __init__(self) -> None:
        self.port = 0
        self.gate: threading.Event | None = None
        self.reset()

    def reset(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self.keys: list[dict[str, Any]] = []
        self.up = True
        self.requests = 0
        self.gate = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.issuer}/jwks.json"

    async def jwks(self, _: Request) -> Response:
        self.requests += 1
        if self.gate is not None:
            await asyncio.to_thread(self.gate.wait, 30)
        if not self.up:
            return Response(status_code=503)
        return Response(json.dumps({"keys": self.keys}), media_type="application/json")

    async def large(self, _: Request) -> Response:
        return Response(b" " * 600_000)

    async def endless(self, _: Request) -> Response:
        async def drops() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.01)

        return StreamingResponse(drops())

    async def moved(self, _: Request) -> Response:
        return RedirectResponse("/jwks.json")


@contextmanager
def serve_keys() -> Iterator[KeyServer]:
    """A running `KeyServer` on a free port of this machine."""
    state = KeyServer()
    app = Starlette(
        routes=[
            Route("/jwks.json", state.jwks),
            Route("/large", state.large),
            Route("/endless", state.endless),
            Route("/moved", state.moved),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    # Connections that come before the server runs wait in the backlog, so nobody has to wait for it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield state
        finally:
            state.reset()
            server.should_exit = True
            thread.join()
