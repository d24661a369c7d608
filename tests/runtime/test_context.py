from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.context import PLACEHOLDERS, InvalidContext, Principal, UserExecutionContext
from goldenpath.wire.ids import RequestId, RunId, SessionId, ThreadId, UserId

ANN = Principal(UserId("usr_1"), SessionId("ses_1"), 2e9, frozenset({"chat"}), "mid", "ann@example.com")


def context(**fields: Any) -> UserExecutionContext:
    given: dict[str, Any] = {
        "principal": ANN,
        "thread_id": ThreadId("t1"),
        "run_id": RunId("r1"),
        "request_id": RequestId("req_1"),
        "deadline": 10.0,
        "created_at": 1.7e9,
    }
    return UserExecutionContext(**{**given, **fields})


def test_a_context_tells_of_its_user_and_of_nobody_else() -> None:
    made = context()
    assert made.user_id == "usr_1"
    assert made.principal is ANN
    assert set(made.__struct_fields__) == {"principal", "thread_id", "run_id", "request_id", "deadline", "created_at"}


@pytest.mark.parametrize("field", ["user_id", "session_id"])
@pytest.mark.parametrize("placeholder", sorted(PLACEHOLDERS))
def test_a_principal_is_somebody(field: str, placeholder: str) -> None:
    for value in (placeholder, placeholder.upper(), f"  {placeholder}\t"):
        given = {"user_id": "usr_1", "session_id": "ses_1", field: value}
        with pytest.raises(InvalidContext) as refused:
            Principal(UserId(given["user_id"]), SessionId(given["session_id"]), 2e9)
        assert refused.value.field == field


@pytest.mark.parametrize("value", [None, 7, b"usr_1", ["usr_1"], "a\nb", "a\x00b", "a\u202eb", "x" * 257])
def test_an_identity_is_a_printable_string_of_bounded_length(value: Any) -> None:
    with pytest.raises(InvalidContext) as refused:
        Principal(value, SessionId("ses_1"), 2e9)
    assert refused.value.field == "user_id"


def test_a_refused_identity_is_not_repeated() -> None:
    with pytest.raises(InvalidContext) as refused:
        Principal(UserId("secret\nvalue"), SessionId("ses_1"), 2e9)
    assert "secret" not in str(refused.value)


def test_identities_that_only_look_like_placeholders_are_taken() -> None:
    for name in ("usr_none", "nullable", "anonymous coward", "defaults", "x" * 256, "\u00e9"):
        assert Principal(UserId(name), SessionId(name), 2e9).user_id == name


@pytest.mark.parametrize("field", ["thread_id", "run_id"])
@pytest.mark.parametrize("value", ["", " ", "a b", "a/b", "\u00e9", "x" * 129, None, 7, "a\n"])
def test_thread_and_run_have_the_form_that_the_protocol_gives(field: str, value: Any) -> None:
    with pytest.raises(InvalidContext) as refused:
        context(**{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["default", "null", "unknown", "x" * 128, "A.b_c:d-1"])
def test_a_client_may_call_its_thread_what_it_likes(name: str) -> None:
    made = context(thread_id=ThreadId(name), run_id=RunId(name))
    assert (made.thread_id, made.run_id) == (name, name)


@pytest.mark.parametrize("value", ["", "placeholder", None])
def test_a_request_is_named(value: Any) -> None:
    with pytest.raises(InvalidContext) as refused:
        context(request_id=value)
    assert refused.value.field == "request_id"


@pytest.mark.parametrize("principal", [None, "usr_1", {"user_id": "usr_1"}])
def test_a_context_needs_a_principal(principal: Any) -> None:
    with pytest.raises(InvalidContext) as refused:
        context(principal=principal)
    assert refused.value.field == "principal"


@pytest.mark.parametrize(
    "fields", [{"deadline": 0.0}, {"deadline": -1.0}, {"created_at": 0.0}, {"deadline": float("nan")}]
)
def test_times_are_positive(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidContext):
        context(**fields)


def test_a_context_and_a_principal_cannot_be_changed() -> None:
    for frozen in (context(), ANN):
        for field in frozen.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(frozen, field, "other")
    with pytest.raises(InvalidContext):
        msgspec.structs.replace(ANN, user_id="")


def test_a_principal_may_do_what_it_holds() -> None:
    assert ANN.may("chat")
    assert not ANN.may("admin")
    assert not ANN.may("")


@given(st.text())
def test_whatever_is_given_either_is_a_context_or_is_refused_by_name(value: str) -> None:
    try:
        made = context(thread_id=ThreadId(value))
    except InvalidContext as error:
        field: str | None = error.field
    else:
        field = None
        assert made.thread_id == value
    assert field in {None, "thread_id"}
