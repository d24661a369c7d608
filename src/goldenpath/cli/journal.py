"""The journal of operators on a terminal."""

from __future__ import annotations

from typing import Any

import msgspec


def show(actions: list[dict[str, Any]]) -> None:
    """Each change, the newest first: number, when, who, what; and below it why, what was before and what is after."""
    for row in actions:
        print(f"{row['number']:>5}  {row['at']}  {row['actor']}  {row['area']}: {row['action']} {row['subject']}")
        if row["why"]:
            print(f"       why: {row['why']}")
        for when in ("before", "after"):
            if row[when] is not None:
                print(f"       {when}: {msgspec.json.encode(row[when]).decode()}")
