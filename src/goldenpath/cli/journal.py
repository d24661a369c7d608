"""The journal of operators on a terminal."""

from __future__ import annotations

from typing import Any

import msgspec

from goldenpath.cli.admin import print_table


def show(actions: list[dict[str, Any]]) -> None:
    """One line for each change, the newest first."""
    print_table(
        ("", "When", "Who", "What", "Before", "After", "Why"),
        (
            (
                row["number"], row["at"], row["actor"], f"{row['area']}: {row['action']} {row['subject']}",
                _json(row["before"]), _json(row["after"]), row["why"],
            )
            for row in actions
        ),
    )  # fmt: skip


def _json(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
