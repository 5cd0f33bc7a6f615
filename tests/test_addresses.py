from typing import Any

import pytest
from django.test import override_settings
from django.urls import include, path, set_script_prefix
from django.views import defaults

from django_plugchat.registering.addresses import (
    UnusableURLError,
    callback_path,
    ensure_reachable,
    is_allowed_host,
    split_url,
    url_with,
)
from tests.payloads import SECRET

CALLBACK = f"/plugchat/callback/{SECRET}/"


def refused(url: str) -> str:
    with pytest.raises(UnusableURLError) as caught:
        ensure_reachable(url)
    assert "unknown-secret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://LOJA.COM.BR.:8443/hook?key=value",
        "https://xn--aa-dia7c.com.br/",
        "https://8.8.8.8",
        "https://[2606:4700::1111]:8443/",
        "https://localhost.loja.com.br",
        "https://test.com.br",
        "https://notexample.com",
        # Resolves to this machine, but nothing is looked up.
        "https://localtest.me",
    ],
)
def test_hosts_that_the_provider_may_reach(url):
    ensure_reachable(url)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "shop.localhost",
        "printer.local",
        "printer.local.",
        "shop.internal",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1]",
        "[fc00::1]",
        "[2001:db8::1]",
        "[2001::1]",
    ],
)
def test_hosts_that_the_provider_can_not_reach(host):
    assert "tunnel" in refused(f"https://{host}:8000/hook")


@pytest.mark.parametrize(
    "host", ["example.com", "www.example.org.", "shop.example.net:8443", "shop.example", "shop.test", "no.invalid"]
)
def test_names_for_examples_are_nobodys(host):
    assert "not public" in refused(f"https://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///hook",
        "https://web",
        "https://127.0.0.1.",
        "https://2130706433",
        "https://0x7f.1",
        "https://256.1.1.1",
        "https://loja.com.br:0",
        "https://loja.com.br:99999",
        "https://[::1",
        "https://[fe80::1%25eth0]",
    ],
)
def test_hosts_that_are_none(url):
    assert "valid host" in refused(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "https://"),
        ("loja.com.br", "https://"),
        ("http://127.0.0.1", "https://"),
        ("https://unknown-secret:unknown-secret@loja.com.br", "password"),
        ("https://loja.com.br/hook#unknown-secret", "fragment"),
        ("https://loja.com.br/a b", "spaces"),
        ("https://loja.com.br/\n", "spaces"),
        ("https://açaí.com.br", "ASCII"),
    ],
)
def test_urls_that_are_refused_for_more_than_the_host(url, why):
    assert why in refused(url)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://api.localhost", "http://127.0.0.1", "http://127.1.2.3", "http://[::1]"]
)
def test_plain_http_stays_on_this_machine(url):
    assert split_url(url, allow_loopback_http=True).scheme == "http"
    with pytest.raises(UnusableURLError):
        split_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localhost.example.com", "http://[2606:4700::1111]"])
def test_plain_http_goes_nowhere_else(url):
    with pytest.raises(UnusableURLError, match="https://"):
        split_url(url, allow_loopback_http=True)


@pytest.mark.parametrize(
    "url", ["https://example.com?", "https://example.com/?a=b", "https://example.com//?", "https://example.com/app?"]
)
def test_a_base_has_no_query(url):
    with pytest.raises(UnusableURLError, match="query"):
        split_url(url, is_base=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://loja.com.br", False),
        ("https://loja.com.br/", False),
        ("https://loja.com.br//", False),
        ("https://loja.com.br/hook", True),
        ("https://loja.com.br/hook?a=b", True),
        ("https://loja.com.br/.", True),
        ("https://loja.com.br/;", True),
    ],
)
def test_a_whole_url_has_a_path(url, expected):
    assert (url_with(SECRET, url) == url) is expected


@pytest.mark.parametrize(
    ("allowed", "debug", "url", "expected"),
    [
        (["example.com"], False, "https://example.com", True),
        (["example.com"], False, "https://EXAMPLE.com.:8443/app", True),
        (["example.com"], False, "https://www.example.com", False),
        ([".example.com"], False, "https://www.example.com", True),
        ([".example.com"], False, "https://example.com", True),
        (["*"], False, "https://example.com", True),
        (["[2606:4700::1111]"], False, "https://[2606:4700::1111]:8443", True),
        ([], False, "https://localhost", False),
        ([], True, "https://localhost", True),
        ([], True, "https://shop.localhost:8000", True),
        ([], True, "https://example.com", False),
        (["example.org"], True, "https://localhost", False),
    ],
)
def test_a_host_is_allowed_as_django_allows_it(settings, allowed, debug, url, expected):
    settings.ALLOWED_HOSTS, settings.DEBUG = allowed, debug
    assert is_allowed_host(url) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, f"https://hooks.loja.com.br{CALLBACK}"),
        ("https://a1.ngrok.app/", f"https://a1.ngrok.app{CALLBACK}"),
        ("https://a1.ngrok.app/hook", "https://a1.ngrok.app/hook"),
    ],
)
def test_where_the_provider_is_to_call(url, expected):
    assert url_with(SECRET, url) == expected


def test_what_a_path_of_public_url_is_for(plugchat):
    plugchat(PUBLIC_URL="https://hooks.loja.com.br:8443/app/")
    assert url_with(SECRET) == f"https://hooks.loja.com.br:8443/app{CALLBACK}"


@pytest.mark.parametrize("public_url", ["", None])
def test_no_public_url(plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    with pytest.raises(UnusableURLError, match="PUBLIC_URL"):
        url_with(SECRET)
    url_with(SECRET, "https://a1.ngrok.app")


def test_a_url_that_is_left_as_an_example_said_is_not_usable(plugchat):
    plugchat(PUBLIC_URL="https://example.com")
    with pytest.raises(UnusableURLError, match="not public"):
        url_with(SECRET)


class WithoutCallback:
    urlpatterns: list[Any] = []


class WithCallbackOfAnother:
    urlpatterns = [path("", include(([path("callback/", defaults.page_not_found, name="callback")], "plugchat")))]


@pytest.mark.parametrize("urlconf", [WithoutCallback, WithCallbackOfAnother])
def test_urls_that_are_not_included(urlconf):
    with override_settings(ROOT_URLCONF=urlconf):
        assert callback_path(SECRET) is None
        with pytest.raises(UnusableURLError, match="URLconf") as caught:
            url_with(SECRET)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_path_that_force_script_name_puts_before_it():
    set_script_prefix("/app/")
    try:
        assert url_with(SECRET) == f"https://hooks.loja.com.br/app{CALLBACK}"
    finally:
        set_script_prefix("/")
