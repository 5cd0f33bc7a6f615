import pytest
from django.urls import include, path, set_script_prefix
from django.views import defaults

from django_plugchat.registering.addresses import (
    UnusableURLError,
    ensure_reachable,
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
        "169.254.169.254",
        "224.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
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


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://127.0.0.1", "http://127.1.2.3", "http://[::1]"])
def test_plain_http_stays_on_this_machine(url):
    assert split_url(url, allow_loopback_http=True).scheme == "http"
    with pytest.raises(UnusableURLError):
        split_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localhost.example.com", "http://[2606:4700::1111]"])
def test_plain_http_goes_nowhere_else(url):
    with pytest.raises(UnusableURLError, match="https://"):
        split_url(url, allow_loopback_http=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://loja.com.br//", False),
        ("https://loja.com.br/.", True),
        ("https://loja.com.br/;", True),
    ],
)
def test_a_path_of_nothing_but_slashes_is_none(url, expected):
    assert (url_with(SECRET, url) == url) is expected


def test_a_url_that_is_left_as_an_example_said_is_not_usable(plugchat):
    plugchat(PUBLIC_URL="https://example.com")
    with pytest.raises(UnusableURLError, match="not public"):
        url_with(SECRET)


class WithCallbackOfAnother:
    urlpatterns = [path("", include(([path("callback/", defaults.page_not_found, name="callback")], "plugchat")))]


@pytest.mark.parametrize("urlconf", ["django.contrib.auth.urls", WithCallbackOfAnother])
def test_urls_that_are_not_included(settings, urlconf):
    settings.ROOT_URLCONF = urlconf
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
