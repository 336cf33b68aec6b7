"""The host's web proxies, as Linux can use them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbridge.proxies import linux_proxies, wininet_proxies

NAT, MIRRORED, NOWHERE = "10.0.2.2", "127.0.0.1", ""


@pytest.mark.parametrize(
    ("host", "loopback", "linux"),
    [
        ("http://proxy.example:3128", NAT, "http://proxy.example:3128"),
        ("http://127.0.0.1:3128/", NAT, "http://10.0.2.2:3128/"),
        ("http://ada:p%40ss@localhost:3128", NAT, "http://ada:p%40ss@10.0.2.2:3128"),
        ("http://localhost@127.0.0.1", NAT, "http://localhost@10.0.2.2"),
        ("http://LOCALHOST:1", NAT, "http://10.0.2.2:1"),
        ("127.0.0.1:3128", NAT, "10.0.2.2:3128"),
        ("socks5h://localhost:1080", NAT, "socks5h://10.0.2.2:1080"),
        ("http://[::1]:3128", NAT, None),
        ("http://127.0.0.2:3128", NAT, None),
        ("http://127.0.0.1:3128", MIRRORED, "http://127.0.0.1:3128"),
        ("http://[::1]:3128", MIRRORED, "http://[::1]:3128"),
        ("http://127.0.0.1:3128", NOWHERE, None),
        ("http://proxy.example:3128", NOWHERE, "http://proxy.example:3128"),
        ("http://[fe80::1", NAT, None),
        ("http://", NAT, None),
    ],
)
def test_a_proxy_is_where_linux_finds_it(host: str, loopback: str, linux: str | None) -> None:
    expected = {} if linux is None else {"http_proxy": linux, "HTTP_PROXY": linux}
    assert linux_proxies({"http_proxy": host}, loopback) == expected


def test_both_cases_are_set_and_the_lower_one_counts() -> None:
    host = {"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1", "No_Proxy": ".example,::1"}
    assert linux_proxies(host, NAT) == {
        "http_proxy": "http://b:1",
        "HTTP_PROXY": "http://b:1",
        "no_proxy": ".example,::1",
        "NO_PROXY": ".example,::1",
    }


def test_exceptions_of_no_proxy_are_none() -> None:
    assert linux_proxies({"no_proxy": "localhost"}, NAT) == {}
    assert linux_proxies({"no_proxy": "localhost", "https_proxy": ""}, NAT) == {}


def test_nothing_else_crosses() -> None:
    assert linux_proxies({"MY_PROXY": "http://a:1", "PATH": "/bin"}, NAT) == {}


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    for proxy in linux_proxies({"all_proxy": text}, NAT).values():
        assert urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname not in (
            "localhost",
            "127.0.0.1",
        )


@pytest.mark.parametrize(
    ("server", "override", "variables"),
    [
        ("", "<local>", {}),
        (
            "proxy:8080",
            "",
            {"http_proxy": "http://proxy:8080", "https_proxy": "http://proxy:8080"},
        ),
        (
            "http=a:1;https=b:2;ftp=c:3;socks=d:4",
            "*.example;10.*;<local>",
            {
                "http_proxy": "http://a:1",
                "https_proxy": "http://b:2",
                "all_proxy": "socks5://d:4",
                "no_proxy": ".example,10.*",
            },
        ),
        ("http=http://a:1", "<local>", {"http_proxy": "http://a:1"}),
        ("=;https=", "x", {}),
    ],
)
def test_settings_of_windows(server: str, override: str, variables: dict[str, str]) -> None:
    assert wininet_proxies(server, override) == variables
