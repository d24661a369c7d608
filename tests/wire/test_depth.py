from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.wire.depth import MAX_DEPTH, is_too_deep


def nested(levels: int, inside: Any) -> Any:
    for level in range(levels):
        inside = [inside] if level % 2 else {'k"]}': inside}
    return inside


@given(st.integers(0, 20), st.text(), st.booleans())
def test_only_arrays_and_objects_inside_each_other_count(spare: int, text: str, over: bool) -> None:
    levels = MAX_DEPTH + 1 + spare if over else MAX_DEPTH - 1 - spare
    document = json.dumps([nested(levels - 1, text + '"[{\\' * 200), [[]] * 200], ensure_ascii=False)
    assert is_too_deep(document.encode("utf-8", "replace")) is over


@pytest.mark.parametrize(
    ("levels", "too_deep"), [(0, False), (MAX_DEPTH, False), (MAX_DEPTH + 1, True), (100_000, True)]
)
def test_the_limit_itself_is_allowed(levels: int, too_deep: bool) -> None:
    assert is_too_deep("[" * levels + "1" + "]" * levels) is too_deep
