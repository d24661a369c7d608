"""What a page consists of, and how it is written as Markdown and as HTML. All texts may come from a target: both
writers escape every one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec

from goldenpath.lab.plain import plain


class Badge(msgspec.Struct, frozen=True):
    """A verdict or a status, in its colour."""

    word: str


class Number(msgspec.Struct, frozen=True):
    """A value as it is written, and as it is."""

    text: str
    value: float | None = None


class Link(msgspec.Struct, frozen=True):
    """To another page of the report; in Markdown only its text."""

    text: str
    slug: str


Cell = str | Badge | Number | Link


class Heading(msgspec.Struct, frozen=True):
    text: str


class Text(msgspec.Struct, frozen=True):
    text: str


class Code(msgspec.Struct, frozen=True):
    """A command."""

    text: str


class Table(msgspec.Struct, frozen=True):
    """Where there are no rows, `empty` says so instead."""

    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    empty: str = ""


Block = Heading | Text | Code | Table

SYMBOLS: Final = {
    "pass": "✓",
    "met": "✓",
    "fail": "✗",
    "broken": "✗",
    "missed": "!",
    "unknown": "?",
}
"""So that no meaning is in a colour alone."""


# --- Markdown ---------------------------------------------------------------------------------------------------------

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#>!])")


def markdown_text(text: str) -> str:
    """Text that a Markdown reader shows as it is, in one line."""
    shown = plain(text).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", shown)


def markdown(title: str, blocks: Iterable[Block]) -> str:
    """A document."""
    parts = [f"# {markdown_text(title)}"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"## {markdown_text(text)}")
            case Text(text):
                parts.append(markdown_text(text))
            case Code(text):
                parts.append("    " + plain(text))
            case Table(head, rows, empty):
                parts.append(_markdown_table(head, rows) if rows else markdown_text(empty))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(markdown_text(_plain(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(cell: Cell) -> str:
    if isinstance(cell, Badge):
        return f"{SYMBOLS.get(cell.word, '')} {cell.word}".strip()
    return cell if isinstance(cell, str) else cell.text


# --- HTML -------------------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text that a page shows as it is, in one line."""
    return escape(plain(text))


def html(blocks: Iterable[Block]) -> str:
    """The blocks, without anything around them."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h3>{escaped(text)}</h3>")
            case Text(text):
                parts.append(f"<p>{escaped(text)}</p>")
            case Code(text):
                parts.append(f'<pre tabindex="0"><code>{escaped(text)}</code></pre>')
            case Table(head, rows, empty):
                parts.append(html_table(head, rows) if rows else f'<p class="quiet">{escaped(empty)}</p>')
    return "\n".join(part for part in parts if part)


def html_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that scrolls sideways where it does not fit, and is a list of rows where there is no room at all."""
    numeric = {place for row in rows[:1] for place, cell in enumerate(row) if isinstance(cell, Number)}
    heads = "".join(
        f'<th scope="col"{_NUMERIC if place in numeric else ""}>{escaped(name)}</th>' for place, name in enumerate(head)
    )
    body = "".join(
        f"<tr>{''.join(_html_cell(cell, name) for cell, name in zip(row, head, strict=True))}</tr>" for row in rows
    )
    table = f'<table class="stacks"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


_NUMERIC: Final = ' class="number"'
_LONG: Final = ' class="long"'
_SHORT: Final = 30
"""Cells of fewer characters are not broken into lines."""


def _html_cell(cell: Cell, name: str) -> str:
    name = f' data-head="{escaped(name)}"'
    match cell:
        case Badge(word):
            return f"<td{name}>{badge(word)}</td>"
        case Number(text, value):
            data = "" if value is None else f' data-value="{value!r}"'
            return f'<td{name} class="number"{data}>{escaped(text)}</td>'
        case Link(text, slug):
            return f'<td{name}><a href="#{escaped(slug)}">{escaped(text)}</a></td>'
    return f"<td{name}{_LONG if len(cell) > _SHORT else ''}>{escaped(cell)}</td>"


def badge(word: str) -> str:
    """A verdict or a status."""
    return (
        f'<span class="badge {escaped(word)}"><span aria-hidden="true">{SYMBOLS.get(word, "")}</span>'
        f" {escaped(word)}</span>"
    )
