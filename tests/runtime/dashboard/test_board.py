"""Sections: read when due, told when changed, to whoever has not seen them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.dashboard.board import Board, Section


def shown(board: Board, since: int, *, names_users: bool = False) -> dict[str, Any]:
    return {name: msgspec.json.decode(raw) for name, raw in board.changed(since, names_users=names_users).items()}


def test_a_section_is_read_when_it_is_due_and_told_once() -> None:
    value = 1
    board = Board({"slow": Section(lambda _: value, every=5.0)})
    board.refresh(0.0)
    assert shown(board, 0) == {"slow": 1}
    seen, value = board.version, 2
    board.refresh(4.9)
    assert shown(board, seen) == {}
    board.refresh(5.0)
    assert shown(board, seen) == {"slow": 2}
    board.refresh(10.0)
    assert shown(board, board.version) == {}


def test_who_may_not_see_users_is_told_something_else() -> None:
    board = Board({"users": Section(lambda names: "ann" if names else "u-1", names_users=True)})
    board.refresh(0.0)
    assert shown(board, 0) == {"users": "u-1"}
    assert shown(board, 0, names_users=True) == {"users": "ann"}


def test_a_section_that_cannot_be_read_leaves_the_others_alone() -> None:
    def broken(_: bool) -> object:
        raise RuntimeError

    board = Board({"broken": Section(broken), "well": Section(lambda _: 1)})
    board.refresh(0.0)
    assert shown(board, 0) == {"well": 1}


@given(
    changes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40),
    looks=st.sets(st.integers(0, 39)),
)
def test_whoever_looks_now_and_then_knows_what_holds(changes: list[tuple[str, int]], looks: set[int]) -> None:
    values = dict.fromkeys("abc", 0)
    board = Board({name: Section(lambda _, name=name: values[name], every=0.0) for name in values})  # type: ignore[misc]
    known: dict[str, Any] = {}
    seen = 0
    for place, (name, value) in enumerate(changes):
        values[name] = value
        board.refresh(float(place))
        if place in looks:
            known.update(shown(board, seen))
            seen = board.version
            assert known == values
