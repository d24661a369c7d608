"""The flags behind the OpenFeature API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode

from goldenpath.runtime.flags.definition import Flag
from goldenpath.runtime.flags.flags import Flags
from goldenpath.runtime.flags.openfeature import GoldenpathProvider, context_of
from goldenpath.runtime.flags.rule import Rule
from tests.runtime.flags.test_rule import user

VARIANTS: dict[str, Any] = {"text": "a", "whole": 3, "real": 0.5, "object": {"k": [1]}}


@pytest.fixture
def flags() -> Flags:
    named = [Flag(f"a_{name}", "", name, {name: value}) for name, value in VARIANTS.items()]
    return Flags(
        [Flag("switch", "", True), Flag("model", "", "small", {"small": "s", "large": "l"}), *named], "testing"
    )


@pytest.fixture
def client(flags: Flags) -> Iterator[OpenFeatureClient]:
    api.set_provider(GoldenpathProvider(flags))
    yield api.get_client()
    api.clear_providers()


def test_every_kind_of_value_is_resolved(client: OpenFeatureClient) -> None:
    assert client.get_boolean_value("switch", False) is True
    assert client.get_string_value("a_text", "") == "a"
    assert client.get_integer_value("a_whole", 0) == 3
    assert client.get_float_value("a_real", 0.0) == 0.5
    assert client.get_float_value("a_whole", 0.0) == 3.0
    assert client.get_object_value("a_object", {}) == {"k": [1]}


def test_a_user_gets_what_goldenpath_would_give_them(client: OpenFeatureClient, flags: Flags) -> None:
    flags.put("switch", Rule(stage="staged", tiers=("mid",)))
    flags.put("model", Rule(stage="canary", variant="large"))
    for number in range(200):
        for principal in (
            user(f"usr_{number}", "mid"),
            user(f"usr_{number}"),
            user(f"usr_{number}", "free", "internal"),
        ):
            context = context_of(principal)
            assert client.get_boolean_value("switch", False, context) == flags.enabled("switch", principal)
            assert client.get_string_value("model", "", context) == flags.value("model", principal)
    assert client.get_boolean_value("switch", True) is False  # nobody in particular


def test_what_was_chosen_and_why_is_told(client: OpenFeatureClient, flags: Flags) -> None:
    details = client.get_boolean_details("switch", False)
    assert (details.variant, details.reason) == ("on", "DEFAULT")
    flags.put("model", Rule(variant="large"))
    told = client.get_string_details("model", "", context_of(user()))
    assert (told.value, told.variant, told.reason) == ("l", "large", "TARGETING_MATCH")


def test_what_cannot_be_answered_is_the_callers_default_with_the_reason(client: OpenFeatureClient) -> None:
    unknown = client.get_boolean_details("nope", True)
    assert (unknown.value, unknown.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    assert client.get_boolean_details("model", True).error_code == ErrorCode.TYPE_MISMATCH
    assert client.get_integer_details("switch", 7).error_code == ErrorCode.TYPE_MISMATCH
    wrong = client.get_boolean_details("switch", False, EvaluationContext("usr_1", {"permissions": "internal"}))
    assert wrong.error_code == ErrorCode.INVALID_CONTEXT
    nobody = client.get_boolean_details("switch", False, EvaluationContext("undefined"))
    assert nobody.error_code == ErrorCode.INVALID_CONTEXT


def test_a_change_is_told(client: OpenFeatureClient, flags: Flags) -> None:
    told: list[str] = []

    def listen(details: EventDetails) -> None:
        told.append(details.provider_name)

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, listen)
    flags.put("switch", Rule(stage="off"))
    assert told == ["goldenpath"]
