from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from django.urls import include, path, set_script_prefix
from django.views import defaults

from django_plugchat.conf import Account, app_settings, secret_id
from django_plugchat.registering.addresses import (
    UnusableURLError,
    callback_path,
    callback_url,
    ensure_reachable,
    is_allowed_host,
    is_whole,
    leads_to_callback,
    repeated_path,
    secret_id_in,
    split_base_url,
    split_url,
)
from tests.payloads import RETIRING_SECRET, SECRET


def refused(url: str) -> str:
    with pytest.raises(UnusableURLError) as caught:
        ensure_reachable(url)
    assert "unknown-secret" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://EXAMPLE.COM.:8443/hook?key=value",
        "https://xn--aa-dia7c.com.br/",
        "https://8.8.8.8",
        "https://[2606:4700::1111]:8443/",
        "https://[::ffff:8.8.8.8]/",
        "https://localhost.example.com",
        "https://127.0.0.1.example.com",
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
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2001::1]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[2002:7f00:1::]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_hosts_that_the_provider_can_not_reach(host):
    assert "tunnel" in refused(f"https://{host}:8000/hook")


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///hook",
        "https://web",
        "https://LOCALHOST.",
        "https://127.0.0.1.",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://0177.0.0.1",
        "https://0",
        "https://1.2.3.4.5",
        "https://256.1.1.1",
        "https://example..com",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:port",
        "https://ex%61mple.com",
        "https://[::1",
        "https://[v1.example]",
        "https://[::ffff:8.8.8.8]a",
        "https://[fe80::1%25eth0]",
        "https://[8.8.8.8::]",
        f"https://{'a.' * 130}com",
    ],
)
def test_hosts_that_are_none(url):
    assert "valid host" in refused(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "https://"),
        ("example.com", "https://"),
        ("http://example.com", "https://"),
        ("http://127.0.0.1", "https://"),
        ("ftp://example.com", "https://"),
        ("https://unknown-secret:unknown-secret@example.com", "password"),
        ("https://unknown-secret@example.com", "password"),
        ("https://example.com/hook#unknown-secret", "fragment"),
        ("https://example.com/hook#", "fragment"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com/\n", "spaces"),
        ("https://açaí.com.br", "ASCII"),
    ],
)
def test_urls_that_are_refused_for_more_than_the_host(url, why):
    assert why in refused(url)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]", "http://[::ffff:127.0.0.1]"]
)
def test_plain_http_stays_on_this_machine(url):
    assert split_url(url, allow_loopback_http=True).scheme == "http"
    with pytest.raises(UnusableURLError):
        split_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localhost.example.com", "http://[2606:4700::1111]"])
def test_plain_http_goes_nowhere_else(url):
    with pytest.raises(UnusableURLError, match="https://"):
        split_url(url, allow_loopback_http=True)


@pytest.mark.parametrize("url", ["https://example.com?", "https://example.com/?a=b", "https://example.com/app?"])
def test_a_base_has_no_query(url):
    with pytest.raises(UnusableURLError, match="query"):
        split_base_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", False),
        ("https://example.com/", False),
        ("https://example.com//", False),
        ("https://example.com/hook", True),
        ("https://example.com/hook?a=b", True),
        ("https://example.com/.", True),
        ("https://example.com/;", True),
    ],
)
def test_a_whole_url_has_a_path(url, expected):
    assert is_whole(url) is expected


@pytest.mark.parametrize(
    "url", ["https://example.com?", "https://example.com?a=b", "https://example.com/?a=b", "https://example.com//?"]
)
def test_a_query_without_a_path_is_neither(url):
    with pytest.raises(UnusableURLError, match="no path"):
        is_whole(url)


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


def test_the_callback_has_the_first_secret_and_public_url(plugchat):
    account = app_settings.accounts["default"]
    assert callback_url(account) == f"https://example.com/plugchat/callback/{SECRET}/"
    assert callback_url(account, "https://a.example.com/") == f"https://a.example.com/plugchat/callback/{SECRET}/"
    plugchat(PUBLIC_URL="https://example.com:8443/app/")
    assert callback_url(account) == f"https://example.com:8443/app/plugchat/callback/{SECRET}/"


@pytest.mark.parametrize("public_url", ["", None])
def test_no_public_url(plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    with pytest.raises(UnusableURLError, match="PUBLIC_URL"):
        callback_url(app_settings.accounts["default"])


@pytest.mark.parametrize(
    ("secrets", "hint"), [((), "token_urlsafe"), (("unknown-secret/",), "200 of the characters"), (("a" * 201,), "200")]
)
def test_no_usable_secret(secrets, hint):
    account = Account(alias="default", token="", webhook_secrets=secrets, label="")
    with pytest.raises(UnusableURLError, match=hint) as caught:
        callback_url(account)
    assert "unknown-secret" not in str(caught.value)


class WithoutCallback:
    urlpatterns: list[Any] = []


class WithCallbackOfAnother:
    urlpatterns = [path("", include(([path("callback/", defaults.page_not_found, name="callback")], "plugchat")))]


@pytest.mark.parametrize("urlconf", [WithoutCallback, WithCallbackOfAnother])
def test_urls_that_are_not_included(urlconf):
    with override_settings(ROOT_URLCONF=urlconf):
        assert callback_path(SECRET) is None
        with pytest.raises(UnusableURLError, match="URLconf") as caught:
            callback_url(app_settings.accounts["default"])
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.fixture
def _below_app():
    """What Django makes of FORCE_SCRIPT_NAME = "/app" when it starts."""
    set_script_prefix("/app/")
    yield
    set_script_prefix("/")


@pytest.mark.usefixtures("_below_app")
def test_a_path_of_public_url_that_the_callback_has_too_is_refused(plugchat):
    account = app_settings.accounts["default"]
    assert callback_url(account) == f"https://example.com/app/plugchat/callback/{SECRET}/"
    plugchat(PUBLIC_URL="https://example.com/app")
    with pytest.raises(UnusableURLError, match="/app"):
        callback_url(account)
    plugchat(PUBLIC_URL="https://example.com/shop")
    assert callback_url(account) == f"https://example.com/shop/app/plugchat/callback/{SECRET}/"


@pytest.mark.parametrize(
    ("base", "path", "repeated"),
    [
        ("https://example.com", "/app/callback/", ""),
        ("https://example.com/", "/app/callback/", ""),
        ("https://example.com/app", "/app/callback/", "/app"),
        ("https://example.com/app/", "/app/callback/", "/app"),
        ("https://example.com/shop/app", "/app/callback/", "/app"),
        ("https://example.com/a/b/", "/a/b/callback/", "/a/b"),
        ("https://example.com/a/b", "/a/callback/", ""),
        ("https://example.com/ap", "/app/callback/", ""),
        ("https://example.com/app", "/application/callback/", ""),
        ("https://[::1", "/app/callback/", ""),
    ],
)
def test_what_a_base_and_a_path_have_twice(base, path, repeated):
    assert repeated_path(base, path) == repeated


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"https://example.com/plugchat/callback/{SECRET}/", True),
        (f"https://example.com/plugchat/callback/{SECRET}", True),
        (f"https://other.example.com:8443/plugchat/callback/{RETIRING_SECRET}/?a=b", True),
        # A proxy may take out what comes before.
        (f"https://example.com/app/plugchat/callback/{SECRET}/", True),
        (f"https://example.com/app//plugchat/callback/{SECRET}/", False),
        (f"https://example.com//plugchat/callback/{SECRET}/", False),
        (f"https://example.com/plugchat/callback/{SECRET}//", False),
        (f"https://example.com/plugchat/callback/{SECRET}/more/", False),
        (f"https://example.com/plugchat/callback/{SECRET}-and-more/", False),
        (f"https://example.com/plugchat/Callback/{SECRET}/", False),
        (f"https://example.com/other/{SECRET}/", False),
        (f"https://example.com/?to=/plugchat/callback/{SECRET}/", False),
        ("https://example.com/plugchat/callback/secret-of-the-account-norte/", False),
        ("https://example.com/plugchat/callback/", False),
        ("https://example.com/hook", False),
        ("https://example.com", False),
    ],
)
def test_which_urls_lead_to_the_callback(url, expected):
    assert leads_to_callback(url, app_settings.accounts["default"]) is expected


def test_no_url_leads_to_a_callback_that_has_none():
    with override_settings(ROOT_URLCONF=WithoutCallback):
        assert not leads_to_callback("https://example.com/None/", app_settings.accounts["default"])


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        (f"https://example.com/plugchat/callback/{SECRET}/", SECRET),
        (f"https://example.com/other/{RETIRING_SECRET}?a=b", RETIRING_SECRET),
        (f"https://example.com/{SECRET}-and-more/", ""),
        (f"https://example.com/?key={SECRET}", ""),
        ("https://example.com/plugchat/callback/secret-of-the-account-norte/", ""),
    ],
)
def test_which_secret_a_url_holds(url, secret):
    assert secret_id_in(url, app_settings.accounts["default"]) == (secret and secret_id(secret))
