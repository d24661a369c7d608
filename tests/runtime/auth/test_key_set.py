from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from goldenpath.runtime.auth.key_set import BadKeySet, KeySet
from tests.runtime.auth.key_server import SigningKey

BOTH = ("RS256", "ES256")


def read(*keys: Any, algorithms: tuple[str, ...] = BOTH) -> KeySet:
    return KeySet.read(json.dumps({"keys": list(keys)}).encode(), algorithms)


def numbers(public: Any) -> Any:
    return public.public_numbers()


def test_keys_are_found_by_id_and_algorithm(rsa_key: SigningKey, other_rsa_key: SigningKey, ec_key: SigningKey) -> None:
    keys = read(rsa_key.jwk(), other_rsa_key.jwk(), ec_key.jwk())
    assert numbers(keys.find("rsa-1", "RS256")) == numbers(rsa_key.private.public_key())
    assert numbers(keys.find("rsa-2", "RS256")) == numbers(other_rsa_key.private.public_key())
    assert numbers(keys.find("ec-1", "ES256")) == numbers(ec_key.private.public_key())
    assert keys.find("rsa-1", "ES256") is None
    assert keys.find("nobody", "RS256") is None


def test_without_an_id_only_the_only_key_is_found(
    rsa_key: SigningKey, other_rsa_key: SigningKey, ec_key: SigningKey
) -> None:
    keys = read(rsa_key.jwk(), ec_key.jwk())
    assert keys.find(None, "RS256") is not None
    assert keys.find(None, "ES256") is not None
    assert read(rsa_key.jwk(), other_rsa_key.jwk()).find(None, "RS256") is None


def test_two_keys_of_one_id_are_ambiguous_and_neither_is_taken(rsa_key: SigningKey, other_rsa_key: SigningKey) -> None:
    assert read(rsa_key.jwk(), other_rsa_key.jwk(kid="rsa-1")).find("rsa-1", "RS256") is None


def test_a_key_without_alg_serves_each_algorithm_that_is_allowed(rsa_key: SigningKey) -> None:
    jwk = rsa_key.jwk()
    del jwk["alg"]
    keys = read(jwk, algorithms=("RS256", "PS384"))
    assert keys.find("rsa-1", "RS256") is not None
    assert keys.find("rsa-1", "PS384") is not None
    assert keys.find("rsa-1", "RS512") is None


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-256"},
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"key_ops": ["encrypt"]},
        {"kid": 7},
        {"n": 7},
        {"n": "***"},
        {"n": ""},
        {"e": None},
    ],
    ids=str,
)
def test_a_key_that_is_meant_for_something_else_is_left_out(
    rsa_key: SigningKey, ec_key: SigningKey, members: dict[str, Any]
) -> None:
    keys = read(rsa_key.jwk(**members), ec_key.jwk())
    assert keys.find(rsa_key.kid, "RS256") is None
    assert keys.find("ec-1", "ES256") is not None


def test_a_private_key_in_the_document_is_taken_for_its_public_part(rsa_key: SigningKey) -> None:
    assert isinstance(rsa_key.private, RSAPrivateKey)
    private = RSAAlgorithm.to_jwk(rsa_key.private, as_dict=True)
    private.pop("key_ops")
    found = read({**private, "kid": "rsa-1"}).find("rsa-1", "RS256")
    assert found is not None
    assert not hasattr(found, "private_numbers")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1]}',
        b'{"keys":[{}]}',
        b"\xff",
        b"[" * 100_000,
        b"<html>",
    ],
    ids=lambda document: repr(document[:20]),
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(BadKeySet):
        KeySet.read(document, BOTH)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "kid", "alg", "use", "n", "e", "crv", "x", "y", "key_ops", "d"]),
            st.sampled_from(["RSA", "EC", "P-256", "RS256", "ES256", "sig", "AQAB", "AQ", "", 1, None, ["verify"]])
            | st.binary(max_size=64).map(lambda data: base64.urlsafe_b64encode(data).decode()),
        ),
        max_size=3,
    )
)
def test_no_document_breaks_the_reader(keys: list[dict[str, Any]]) -> None:
    try:
        found = read(*keys)
    except BadKeySet:
        return
    assert isinstance(found, KeySet)
