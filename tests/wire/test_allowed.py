"""Who wrote a word that is not allowed reads which are."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from goldenpath.wire.allowed import told

Stage = Literal["off", "canary", "full"]
NONE = "none of canary, full, off"


class Part(msgspec.Struct):
    stage: Stage | None = None
    stages: tuple[Stage, ...] = ()
    number: int = 0


class Whole(msgspec.Struct):
    part: Part | None = None
    parts: dict[str, Part] = {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"part": {"stage": "cnary"}}, f"'cnary' is {NONE} - at `$.part.stage`; did you mean canary?"),
        ({"part": {"stages": ["off", "x"]}}, f"'x' is {NONE} - at `$.part.stages[1]`"),
        ({"parts": {"a": {"stage": "ful"}}}, f"'ful' is {NONE} - at `$.parts[...].stage`; did you mean full?"),
        ({"part": {"number": "x"}}, "Expected `int`, got `str` - at `$.part.number`"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(value: Any, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, Whole)
    assert told(caught.value, Whole) == said


def test_so_is_a_word_by_itself() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert("of", Stage)
    assert told(caught.value, Stage) == "'of' is none of canary, full, off; did you mean off?"
