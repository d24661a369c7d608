"""The login offers what the server's settings allow, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage
from tests.browser.test_access import NARROW, WIDE, check_contrast, check_names
from tests.runtime.auth.key_server import AUDIENCE, KeyServer, SigningKey, serve_keys
from tests.serverprocess import ServerProcess

CLOSED = "New accounts are not open here. Ask whoever runs this server for one."
Servers = Callable[..., ServerProcess]
Pages = Callable[..., ChatPage]


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.rsa("k1")


@pytest.fixture
def provider(key: SigningKey) -> Iterator[KeyServer]:
    """An identity provider."""
    with serve_keys() as running:
        running.keys = [key.jwk()]
        yield running


def issuers(provider: KeyServer) -> str:
    return json.dumps([{"issuer": provider.issuer, "audience": AUDIENCE, "jwks_url": provider.jwks_url}])


def token(key: SigningKey, provider: KeyServer, **changes: Any) -> str:
    now = time.time()
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 3600, "jti": "t1"}
    return key.sign({**claims, "email": "ann@example.org", **changes})


def bring(page: ChatPage, text: str) -> None:
    page.page.get_by_label("Access token").fill(text)
    page.page.get_by_role("button", name="Log in", exact=True).click()


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def test_where_registration_is_closed_no_account_is_offered(
    own_server: Servers, open_page: Pages, viewport: dict[str, int], scheme: str
) -> None:
    page = open_page(on=own_server(GOLDENPATH_REGISTRATION="false"), viewport=viewport, color_scheme=scheme).open()
    expect(page.page.get_by_text(CLOSED)).to_be_visible()
    expect(page.page.get_by_role("button", name="Create an account")).to_be_hidden()
    expect(page.page.get_by_role("button", name="Use an access token")).to_be_hidden()
    expect(page.page.get_by_label("Access token")).to_be_hidden()
    page.log_in("somebody@example.com")
    expect(page.page.get_by_role("alert").first).to_have_text(
        "This e-mail and password do not belong together. Check both."
    )
    check_contrast(page)
    check_names(page)


def test_where_registration_is_open_nothing_is_said_to_be_closed(open_page: Pages) -> None:
    page = open_page().open()
    expect(page.page.get_by_role("button", name="Create an account")).to_be_visible()
    expect(page.page.get_by_text(CLOSED)).to_be_hidden()
    expect(page.page.get_by_role("button", name="Use an access token")).to_be_hidden()
    page.page.get_by_role("button", name="Create an account").click()
    page.page.get_by_role("button", name="Log in with e-mail").click()
    page.expect_login()
    expect(page.page.get_by_label("E-mail")).to_be_focused()


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def test_with_an_identity_provider_a_token_is_brought(
    own_server: Servers,
    open_page: Pages,
    key: SigningKey,
    provider: KeyServer,
    viewport: dict[str, int],
    scheme: str,
) -> None:
    server = own_server(GOLDENPATH_REGISTRATION="false", GOLDENPATH_ISSUERS=issuers(provider))
    page = open_page(on=server, viewport=viewport, color_scheme=scheme).open()
    expect(page.page.get_by_text(f"Your account is at 127.0.0.1:{provider.port}.")).to_be_visible()
    expect(page.page.get_by_role("button", name="Create an account")).to_be_hidden()
    alert = page.page.get_by_role("alert").first
    bring(page, "two words")
    expect(alert).to_contain_text("one long word")
    bring(page, token(SigningKey.rsa("k1"), provider))
    expect(alert).to_contain_text("This token is not accepted here")
    check_contrast(page)
    check_names(page)
    bring(page, f" Bearer {token(key, provider)}\n")
    page.expect_connected()
    expect(page.page.locator("#account-email")).to_have_text("ann@example.org")
    page.say("hello")
    page.expect_answer("hello")
    page.page.reload()
    page.expect_answer("hello")
    if viewport == NARROW:
        page.page.get_by_role("button", name="Show conversations").click()
    page.log_out()
    page.expect_login()
    expect(page.page.get_by_label("Access token")).to_have_value("")
    page.page.get_by_role("button", name="Log in with e-mail").click()
    expect(page.page.get_by_label("E-mail")).to_be_focused()
    page.page.get_by_role("button", name="Use an access token").click()
    expect(page.page.get_by_label("Access token")).to_be_focused()


def test_a_token_that_ends_is_asked_for_again_and_nothing_is_lost(
    own_server: Servers, open_page: Pages, key: SigningKey, provider: KeyServer
) -> None:
    page = open_page(on=own_server(GOLDENPATH_ISSUERS=issuers(provider))).open()
    page.page.get_by_role("button", name="Use an access token").click()
    bring(page, token(key, provider, email=None, exp=time.time() + 4))
    page.expect_connected()
    page.say("hello")
    expect(page.page.get_by_role("alert").first).to_contain_text("Your login has ended.")
    page.page.get_by_role("button", name="Use an access token").click()
    bring(page, token(key, provider, jti="t2"))
    page.expect_answer("hello")
