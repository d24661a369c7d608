"""What a page consists of, and how it is written as Markdown and as HTML. All texts may come from a target: both
writers escape every one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec


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
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


def markdown_text(text: str) -> str:
    """Text that a Markdown reader shows as it is, in one line."""
    plain = _CONTROL.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", plain)


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
                parts.append("    " + _CONTROL.sub(" ", text))
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


def html(blocks: Iterable[Block]) -> str:
    """The blocks, without anything around them."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h3>{escape(text)}</h3>")
            case Text(text):
                parts.append(f"<p>{escape(text)}</p>")
            case Code(text):
                parts.append(f'<pre tabindex="0"><code>{escape(text)}</code></pre>')
            case Table(head, rows, empty):
                parts.append(html_table(head, rows) if rows else f'<p class="quiet">{escape(empty)}</p>')
    return "\n".join(part for part in parts if part)


def html_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table that scrolls sideways where it does not fit."""
    numeric = {place for row in rows[:1] for place, cell in enumerate(row) if isinstance(cell, Number)}
    heads = "".join(
        f'<th scope="col"{_NUMERIC if place in numeric else ""}>{escape(name)}</th>' for place, name in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(_html_cell(cell) for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


_NUMERIC: Final = ' class="number"'
_LONG: Final = ' class="long"'
_SHORT: Final = 30
"""Cells of fewer characters are not broken into lines."""


def _html_cell(cell: Cell) -> str:
    match cell:
        case Badge(word):
            return f"<td>{badge(word)}</td>"
        case Number(text, value):
            data = "" if value is None else f' data-value="{value!r}"'
            return f'<td class="number"{data}>{escape(text)}</td>'
        case Link(text, slug):
            return f'<td><a href="#{escape(slug)}">{escape(text)}</a></td>'
    return f"<td{_LONG if len(cell) > _SHORT else ''}>{escape(cell)}</td>"


def badge(word: str) -> str:
    """A verdict or a status."""
    return (
        f'<span class="badge {escape(word)}"><span aria-hidden="true">{SYMBOLS.get(word, "")}</span>'
        f" {escape(word)}</span>"
    )
