"""docs/protocol.md, WebSocket: what an upgrade must bring, and how it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from tests.gateway.transports import MAX_ATTACHED, ORIGIN
from tests.gateway.users import User
from tests.serverprocess import ServerProcess
from tests.wsclient import connected


async def refusal(url: str, token: str | None, **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        async with connected(url, token, **options):
            pass
    return caught.value.response


def check_problem(response: Response, status: int, code: str) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body is not None
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert problem["code"] == code
    assert sorted(problem) == ["code", "detail", "retry_after", "retryable", "status", "title", "type"]


async def test_the_authorization_header_opens_the_socket_and_welcome_comes_first(user: User) -> None:
    async with user.connect() as socket:
        welcome = await socket.welcome()
        assert socket.connection.subprotocol is None
    connection_id = welcome.pop("connection_id")
    assert isinstance(connection_id, str)
    assert connection_id
    assert welcome == {
        "type": "welcome",
        "protocol": 1,
        "user_id": user.id,
        "heartbeat": 25,
        "limits": {
            "max_message_bytes": 1_048_576,
            "max_attached_threads": MAX_ATTACHED,
            "max_running": 2,
            "max_queued": 16,
        },
    }


async def test_every_connection_has_an_id_of_its_own(user: User) -> None:
    async with user.connect() as one, user.connect() as other:
        assert (await one.welcome())["connection_id"] != (await other.welcome())["connection_id"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_the_header_is_case_insensitive(site: ServerProcess, user: User, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {user.token}"}
    async with connected(site.ws_url, None, additional_headers=headers) as socket:
        assert (await socket.welcome())["user_id"] == user.id


async def test_a_browser_brings_its_token_as_a_subprotocol(site: ServerProcess, user: User) -> None:
    offered = ["goldenpath.v1", f"bearer.{user.token}"]
    async with connected(site.ws_url, None, subprotocols=offered) as socket:
        assert (await socket.welcome())["user_id"] == user.id
        assert socket.connection.subprotocol == "goldenpath.v1"


async def test_the_order_of_the_subprotocols_does_not_matter(site: ServerProcess, user: User) -> None:
    offered = [f"bearer.{user.token}", "goldenpath.v1"]
    async with connected(site.ws_url, None, subprotocols=offered) as socket:
        assert (await socket.welcome())["user_id"] == user.id
        assert socket.connection.subprotocol == "goldenpath.v1"


async def test_the_subprotocol_is_selected_also_beside_the_header(user: User) -> None:
    async with user.connect(subprotocols=["goldenpath.v1"]) as socket:
        await socket.welcome()
        assert socket.connection.subprotocol == "goldenpath.v1"


async def test_a_subprotocol_that_is_not_ours_is_not_selected(user: User) -> None:
    async with user.connect(subprotocols=["graphql-ws", "goldenpath.v2"]) as socket:
        await socket.welcome()
        assert socket.connection.subprotocol is None


async def test_a_token_is_never_selected_as_the_subprotocol(site: ServerProcess, user: User) -> None:
    async with connected(site.ws_url, None, subprotocols=[f"bearer.{user.token}"]) as socket:
        assert (await socket.welcome())["user_id"] == user.id
        assert socket.connection.subprotocol is None


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c"])
async def test_a_bad_or_missing_token_is_refused_with_401(site: ServerProcess, token: str | None) -> None:
    response = await refusal(site.ws_url, token)
    check_problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_bad_token_as_a_subprotocol_is_refused_with_401(site: ServerProcess) -> None:
    check_problem(await refusal(site.ws_url, None, subprotocols=["goldenpath.v1", "bearer.x"]), 401, "unauthorized")


async def test_a_token_in_the_url_is_ignored(site: ServerProcess, user: User) -> None:
    url = f"{site.ws_url}?token={user.token}&access_token={user.token}"
    check_problem(await refusal(url, None), 401, "unauthorized")


async def test_a_refresh_token_is_no_access_token(site: ServerProcess) -> None:
    tokens = site.tokens("refresher@example.org")
    check_problem(await refusal(site.ws_url, tokens["refresh_token"]), 401, "unauthorized")


async def test_a_query_does_not_disturb_the_upgrade(site: ServerProcess, user: User) -> None:
    async with connected(f"{site.ws_url}?from=bookmark", user.token) as socket:
        assert (await socket.welcome())["user_id"] == user.id


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://127.0.0.1:1", "https://app.example.com.evil.example"]
)
async def test_an_origin_that_is_not_allowed_is_refused_with_403(user: User, site: ServerProcess, origin: str) -> None:
    check_problem(await refusal(site.ws_url, user.token, origin=origin), 403, "forbidden")


async def test_the_own_origin_is_allowed(user: User, site: ServerProcess) -> None:
    async with user.connect(origin=site.url) as socket:
        await socket.welcome()


async def test_an_origin_from_the_settings_is_allowed(user: User) -> None:
    async with user.connect(origin=ORIGIN) as socket:
        await socket.welcome()


async def test_there_is_no_websocket_at_another_path(user: User, site: ServerProcess) -> None:
    for path in ("/", "/v1", "/v1/ws/", "/v1/ws/more", "/v2/ws"):
        url = site.ws_url.removesuffix("/v1/ws") + path
        check_problem(await refusal(url, user.token), 404, "not_found")


async def test_a_plain_get_of_the_socket_path_is_a_problem(user: User) -> None:
    answer = await user.http.get("/v1/ws")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_two_users_have_two_ids(new_user: Callable[..., User]) -> None:
    one, other, again = new_user("one@example.org"), new_user("two@example.org"), new_user("ONE@example.org")
    async with one.connect() as first, other.connect() as second, again.connect() as third:
        ids = [(await socket.welcome())["user_id"] for socket in (first, second, third)]
    assert ids[0] != ids[1]
    assert ids[0] == ids[2]
