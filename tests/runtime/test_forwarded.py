from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.forwarded import TrustedProxies, neighbourhood


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


def seen(trusted: str, peer: str | None, *values: str) -> str | None:
    return TrustedProxies(trusted).client_address(peer, forwarded(*values))


def test_without_trusted_proxies_the_peer_is_who_it_is() -> None:
    assert seen("", "203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert seen("10.0.0.0/8", "203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert seen("", None, "198.51.100.1") is None


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["198.51.100.1"], "198.51.100.1"),
        ([" 198.51.100.1 "], "198.51.100.1"),
        (["203.0.113.66, 198.51.100.1"], "198.51.100.1"),
        (["203.0.113.66", "198.51.100.1"], "198.51.100.1"),
        (["203.0.113.66, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["2001:db8::1"], "2001:db8::1"),
        (["unknown"], "unknown"),
        (["198.51.100.1,"], "10.0.0.1"),
    ],
)
def test_a_trusted_proxy_is_believed_about_the_last_hop_that_is_not_one_itself(values: list[str], address: str) -> None:
    assert seen("10.0.0.0/8", "10.0.0.1", *values) == address


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("198.51.100.1:51234", "198.51.100.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1:443", "2001:db8::1:443"),
        ("host:1", "host:1"),
    ],
)
def test_a_port_behind_an_address_does_not_make_it_another_one(hop: str, address: str) -> None:
    assert seen("10.0.0.1", "10.0.0.1", hop) == address
    assert seen("10.0.0.0/8", "10.0.0.1", f"{hop}, 10.0.0.2:8080") == address
    assert seen("10.0.0.0/8", "10.0.0.1", "203.0.113.66, [::1]:x, 198.51.100.1") == "198.51.100.1"


def test_a_proxy_that_is_seen_through_an_ipv6_socket_is_the_same_proxy() -> None:
    assert seen("10.0.0.0/8", "::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert seen("10.0.0.0/8", "::ffff:203.0.113.9", "198.51.100.1") == "::ffff:203.0.113.9"


def test_the_other_end_of_a_unix_socket_is_trusted_by_its_name() -> None:
    assert seen("unix", None, "198.51.100.1") == "198.51.100.1"
    assert seen("unix", None) is None
    assert seen("10.0.0.1, unix", None, "198.51.100.1, 10.0.0.1") == "198.51.100.1"


def test_everybody_is_trusted_only_on_request() -> None:
    assert seen("*", "203.0.113.9", "198.51.100.1, 203.0.113.66") == "198.51.100.1"


def test_an_endless_hop_is_cut() -> None:
    assert seen("10.0.0.1", "10.0.0.1", "x" * 5000) == "x" * 64


@pytest.mark.parametrize("names", ["10.0.0.0/33", "proxy.example.com", "10.0.0.1;10.0.0.2"])
def test_a_malformed_network_is_refused(names: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        TrustedProxies(names)


def test_a_network_may_be_named_by_any_of_its_addresses() -> None:
    proxies = TrustedProxies(" 10.1.2.3/8 ,, 2001:db8::/32 ")
    assert [proxies.trusts(address) for address in ("10.9.9.9", "11.0.0.1", "2001:db8::5", "x", "", None)] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:1:2:3", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("junk", "junk"),
        (None, None),
    ],
)
def test_who_has_a_network_of_addresses_has_one_limit(address: str | None, counted: str | None) -> None:
    assert neighbourhood(address) == counted


ADDRESS = st.sampled_from(["10.0.0.1", "10.9.9.9", "198.51.100.1", "203.0.113.5", "", "junk"])


@given(st.lists(st.lists(ADDRESS, max_size=4).map(", ".join), max_size=3), ADDRESS)
def test_nobody_can_pretend_to_be_another_by_what_they_send_themselves(values: list[str], claimed: str) -> None:
    """A client may put anything first; the proxy adds what it saw."""
    honest = seen("10.0.0.0/8", "10.0.0.1", *values, "198.51.100.77")
    assert honest == seen("10.0.0.0/8", "10.0.0.1", claimed, *values, "198.51.100.77") == "198.51.100.77"
