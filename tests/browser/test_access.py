"""Anybody can use the page: by keyboard, by ear, on a small window, in the dark, without motion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.gate import Gate
from tests.browser.network import Network

WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 360, "height": 640}
MARKDOWN = f"""# T

{"long" * 60} [link](https://example.com) `code`

| {"a" * 40} | b |
|---|---|
| 1 | 2 |

> q

```
{"z" * 200}
```"""
FORM = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}
TOOL = {"do": "tool", "name": "search", "args": {"q": "x" * 90}, "result": "y" * 90}
EVERYTHING: list[dict[str, Any]] = [
    {"do": "reason", "text": "Let me think."},
    {"do": "step", "name": "Look", "steps": [TOOL]},
    {"do": "say", "text": MARKDOWN},
    {"do": "custom", "name": "progress", "value": 1},
    {"do": "state", "snapshot": {"a": 1}},
    {"do": "interrupt", "reason": "ask", "message": "Well?", "response_schema": FORM},
]

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a)).concat(1);
  const background = (element) => {
    const chain = [];
    for (let e = element; e !== null; e = e.parentElement) chain.push(read(getComputedStyle(e).backgroundColor));
    return chain.reverse().reduce((under, color) => over(color, under), [255, 255, 255, 1]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const seen = element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!seen || walker.currentNode.data.trim() === "") continue;
    if (element.closest(":disabled, .visually-hidden, noscript, script, style, [inert]") !== null) continue;
    const style = getComputedStyle(element);
    const under = background(element);
    const [light, dark] = [luminance(over(read(style.color), under)), luminance(under)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const ratio = (light + 0.05) / (dark + 0.05);
    found.push({ text: walker.currentNode.data.trim().slice(0, 40), ratio, wanted: large ? 3 : 4.5 });
  }
  return found;
}"""


FOCUS = """() => {
  const element = document.activeElement;
  const marked = [element, element.closest(".box") ?? element];
  const outlined = marked.some((e) => getComputedStyle(e).outlineStyle !== "none");
  return [element.getAttribute("aria-label") ?? element.innerText, outlined || element === document.body];
}"""
FROM_THE_TOP = "() => { document.body.tabIndex = -1; document.body.focus(); }"


def check_contrast(page: ChatPage) -> None:
    """Every text that is to be seen reaches WCAG AA."""
    found = page.page.evaluate(CONTRASTS)
    assert len(found) >= 8
    low = [(text["text"], round(text["ratio"], 2)) for text in found if text["ratio"] < text["wanted"]]
    assert low == []


def check_names(page: ChatPage) -> None:
    """Every control has a name, and no id is there twice."""
    snapshot = page.page.locator("body").aria_snapshot()
    controls = re.findall(
        r"^\s*- '?(button|link|textbox|combobox|checkbox|spinbutton|group)\b(.*)$", snapshot, re.MULTILINE
    )
    assert controls
    assert [role for role, rest in controls if role != "group" and not rest.startswith(' "')] == []
    ids = page.page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


def check_width(page: ChatPage) -> None:
    """Nothing has to be scrolled sideways as a whole."""
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for part in (".bar", "#scroller", ".composer"):
        assert page.page.locator(part).evaluate("(part) => part.scrollWidth <= part.clientWidth"), part


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_view_can_be_read_and_has_names(
    open_page: Callable[..., ChatPage], gated: Callable[..., Gate], scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(viewport=viewport, color_scheme=scheme)
    network = Network(page.page)
    page.open()
    page.log_in("nobody@example.com", "wrong password")
    expect(page.page.get_by_role("alert").first).to_be_visible()
    check_contrast(page)
    check_names(page)
    page.register()
    expect(page.page.locator(".card")).to_have_count(3)
    check_contrast(page)
    check_names(page)
    page.script(*EVERYTHING, then=[{"do": "error", "message": "it broke", "code": "timeout"}])
    expect(page.page.locator("#items .question")).to_be_visible()
    for fold in page.page.locator("#items summary").all():
        fold.click()
    page.page.get_by_role("button", name="State", exact=True).click()
    check_contrast(page)
    check_names(page)
    check_width(page)
    page.page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.errors).to_be_visible()
    gate = gated(on=page)
    page.say("queued")
    expect(page.waiting).to_contain_text("Queued")
    gate.show(10)
    check_contrast(page)
    check_names(page)
    check_width(page)
    network.refuse = 4503
    network.cut()
    page.expect_link("waiting")
    check_contrast(page)
    check_width(page)
    network.refuse = 4429
    page.expect_link("stopped")
    check_contrast(page)
    check_width(page)


def test_everything_is_reached_by_keyboard(chat: ChatPage) -> None:
    chat.say("hello")
    chat.expect_answer("hello")
    chat.page.reload()
    chat.expect_answer("hello")
    chat.page.evaluate(FROM_THE_TOP)
    chat.page.keyboard.press("Tab")
    expect(chat.page.get_by_role("button", name="Skip to the message box")).to_be_focused()
    reached = []
    for _ in range(12):
        chat.page.keyboard.press("Tab")
        name, is_marked = chat.page.evaluate(FOCUS)
        reached.append(name)
        assert is_marked, name
    names = " ".join(reached)
    for name in ("New conversation", "hello", "Delete “hello”", "Log out", "Messages"):
        assert name in names
    chat.page.evaluate(FROM_THE_TOP)
    chat.page.keyboard.press("Tab")
    chat.page.keyboard.press("Enter")
    expect(chat.text).to_be_focused()


def test_the_list_of_a_narrow_window_opens_closes_and_holds_the_focus(open_page: Callable[..., ChatPage]) -> None:
    page = open_page(viewport=NARROW)
    page.register()
    page.say("hello")
    page.expect_answer("hello")
    opener = page.page.get_by_role("button", name="Show conversations")
    expect(page.page.get_by_role("link", name="New conversation")).to_be_hidden()
    opener.press("Enter")
    expect(page.page.get_by_role("button", name="Close the list")).to_be_focused()
    expect(opener).to_have_attribute("aria-expanded", "true")
    page.page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    opener.click()
    page.page.get_by_role("link", name="New conversation").click()
    expect(page.page.get_by_role("heading", name="What would you like to do?")).to_be_visible()
    expect(page.page.get_by_role("link", name="New conversation")).to_be_hidden()


def test_an_answer_is_read_aloud_once_and_whole(chat: ChatPage) -> None:
    chat.page.evaluate(
        "() => { window.spoken = []; new MutationObserver((changes) => changes.forEach((change) =>"
        " change.addedNodes.forEach((node) => spoken.push(node.textContent)))).observe(announcer, {childList: true}); }"
    )
    text = "one two three " * 20
    chat.script({"do": "say", "text": text, "delay_ms": 5})
    expect(chat.page.locator("#announcer")).to_have_text(text.strip())
    assert chat.page.evaluate("spoken") == [text]
    expect(chat.page.get_by_role("log")).to_have_attribute("aria-live", "off")


@pytest.mark.parametrize(("wish", "moves"), [("no-preference", True), ("reduce", False)])
def test_nothing_moves_for_those_who_do_not_want_it(
    open_page: Callable[..., ChatPage], gated: Callable[..., Gate], wish: str, moves: bool
) -> None:
    page = open_page(reduced_motion=wish)
    page.register()
    gated(on=page).show(5)
    running = "() => document.getAnimations().some((animation) => animation.playState === 'running')"
    assert page.page.evaluate(running) is moves


def test_the_page_keeps_its_own_security_policy(chat: ChatPage) -> None:
    policy = chat.page.request.get(f"{chat.url}/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    chat.script(*EVERYTHING)
    expect(chat.page.locator("#items .question")).to_be_visible()
    assert chat.complaints == []
