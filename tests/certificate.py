"""A certificate for servers on 127.0.0.1 that nobody else trusts."""

from __future__ import annotations

import datetime as dt
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """The files of a certificate and its key (PEM)."""

    cert: Path
    key: Path

    @property
    def env(self) -> dict[str, str]:
        """The settings of a server that uses it."""
        return {"GOLDENPATH_TLS_CERT": str(self.cert), "GOLDENPATH_TLS_KEY": str(self.key)}


def make_certificate(folder: Path, name: str = "server", *, password: bytes | None = None) -> Certificate:
    """A new self-signed certificate for 127.0.0.1. `password` encrypts its key; None: it is not encrypted."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    files.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    encryption: KeySerializationEncryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return files
