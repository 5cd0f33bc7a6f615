from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import trustme
from django.utils.http import http_date

import django_plugchat
from django_plugchat.client import (
    PlugChatAuthError,
    PlugChatClient,
    PlugChatError,
    PlugChatRequestError,
    PlugChatUnavailable,
)
from django_plugchat.conf import DEFAULTS
from tests.provider import TAKEN, Provider, drop, drop_in_the_middle, serving

TOKEN = "1nEFbU3EktLnV7LIIzX"
SECRET = "a-secret-of-this-test-in-the-url"
WEBHOOK = f"https://example.com/plugchat/callback/{SECRET}/"


@pytest.fixture
def serve() -> Iterator[Callable[..., Provider]]:
    with serving() as serve:
        yield serve


class Client(PlugChatClient):
    """Notes how long it would have waited."""

    def __init__(self, provider: Provider, **options: Any) -> None:
        super().__init__(**{"token": TOKEN, "base_url": provider.base_url, "timeout": 10} | options)
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)


def refusal(client: PlugChatClient, kind: type[PlugChatError]) -> str:
    """The text of the error that registering ends in, which tells nothing that it should not."""
    with pytest.raises(kind) as caught:
        client.update_delivery_webhook(WEBHOOK)
    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is None
    assert error.__context__ is None
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert TOKEN not in told
    assert SECRET not in told
    return str(error)


def test_the_request_is_the_documented_one(serve):
    provider = serve()
    client = Client(provider)
    client.update_delivery_webhook(WEBHOOK)
    [(method, path, headers, body)] = provider.requests
    assert (method, path) == ("PUT", "/api/whatsapp/update-webhook-delivery")
    assert headers.get_all("Authorization") == [TOKEN]
    assert headers.get_all("Content-Type") == ["application/json"]
    assert headers["User-Agent"] == f"django-plugchat/{django_plugchat.__version__}"
    assert json.loads(body) == {"value": WEBHOOK}
    assert client.waits == []


def test_the_provider_is_where_its_page_says():
    assert PlugChatClient(token=TOKEN).url == "https://www.plugchat.com.br/api/whatsapp/update-webhook-delivery"


def test_a_slash_after_the_base_url_is_not_doubled(serve):
    provider = serve()
    Client(provider, base_url=f"{provider.base_url}/").update_delivery_webhook(WEBHOOK)
    assert provider.requests[0][1] == "/api/whatsapp/update-webhook-delivery"


@pytest.mark.parametrize("content", [b'{"value": true, "more": [1]}', b' {"value":true}\n'])
def test_an_answer_may_hold_more(serve, content):
    Client(serve((200, {}, content))).update_delivery_webhook(WEBHOOK)


def test_a_refused_url(serve):
    provider = serve((200, {}, b'{"value": false}'))
    assert "refused the URL" in refusal(Client(provider), PlugChatRequestError)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Welcome</html>",
        b"true",
        b"[true]",
        b"{}",
        b'{"value": 1}',
        b'{"value": "true"}',
        b'{"value": null}',
        b"\xff",
        b"[" * 60_000,
        b'{"value": true' + b" " * 100_000 + b"}",
    ],
)
def test_an_answer_that_is_not_the_apis(serve, content):
    text = refusal(Client(serve((200, {}, content))), PlugChatRequestError)
    assert "not PlugChat's API" in text
    assert "API_URL" in text


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (201, PlugChatRequestError, "API_URL"),
        (204, PlugChatRequestError, "API_URL"),
        (400, PlugChatRequestError, "HTTP 400"),
        (401, PlugChatAuthError, "TOKEN"),
        (403, PlugChatAuthError, "TOKEN"),
        (404, PlugChatRequestError, "API_URL"),
        (405, PlugChatRequestError, "API_URL"),
        (415, PlugChatRequestError, "HTTP 415"),
        (500, PlugChatUnavailable, "HTTP 500"),
        (501, PlugChatUnavailable, "HTTP 501"),
        (600, PlugChatRequestError, "HTTP 600"),
    ],
)
def test_answers_that_another_try_would_not_change(serve, status, kind, hint):
    provider = serve((status, {"Retry-After": "1"}, b""))
    client = Client(provider)
    assert hint in refusal(client, kind)
    assert len(provider.requests) == 1
    assert client.waits == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, PlugChatRequestError),
        (502, PlugChatUnavailable),
        (503, PlugChatUnavailable),
        (504, PlugChatUnavailable),
    ],
)
def test_a_passing_trouble_is_waited_out_three_times(serve, status, kind):
    provider = serve((status, {}, b""))
    client = Client(provider)
    assert str(status) in refusal(client, kind)
    assert len(provider.requests) == 4
    first, second, third = client.waits
    assert 0 < first < second < third


@pytest.mark.parametrize("trouble", [(429, {}, b""), (502, {}, b""), (503, {}, b""), (504, {}, b""), drop])
def test_a_trouble_that_passes_is_none(serve, trouble):
    provider = serve(trouble, trouble, trouble, TAKEN)
    Client(provider).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 4


def test_it_really_waits(serve):
    class Quick(PlugChatClient):
        backoff = 0.001

    provider = serve((503, {}, b""), TAKEN)
    Quick(token=TOKEN, base_url=provider.base_url).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_in_seconds(serve, status):
    client = Client(serve((status, {"Retry-After": "7"}, b""), TAKEN))
    client.update_delivery_webhook(WEBHOOK)
    assert client.waits == [7]


def test_retry_after_as_a_date(serve):
    client = Client(serve((503, {"Retry-After": http_date(time.time() + 20)}, b""), TAKEN))
    client.update_delivery_webhook(WEBHOOK)
    [wait] = client.waits
    assert 1 < wait <= 20


@pytest.mark.parametrize("value", ["0", "soon", "-5", "1.5", "\xb2", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_that_says_nothing(serve, value):
    client = Client(serve((503, {"Retry-After": value}, b""), TAKEN))
    client.update_delivery_webhook(WEBHOOK)
    [wait] = client.waits
    assert 0 < wait < 1


@pytest.mark.parametrize(
    ("status", "kind"), [(429, PlugChatRequestError), (503, PlugChatUnavailable), (504, PlugChatUnavailable)]
)
@pytest.mark.parametrize("value", ["31", "9" * 5000, http_date(4_000_000_000)])
def test_a_long_retry_after_is_not_waited_for(serve, status, kind, value):
    provider = serve((status, {"Retry-After": value}, b""))
    client = Client(provider)
    assert "asks to wait" in refusal(client, kind)
    assert len(provider.requests) == 1
    assert client.waits == []


def test_the_longest_retry_after(serve):
    client = Client(serve((503, {"Retry-After": "30"}, b""), TAKEN))
    client.update_delivery_webhook(WEBHOOK)
    assert client.waits == [30]


def test_dropped_connections_are_tried_again(serve):
    provider = serve(drop)
    assert "can't be reached" in refusal(Client(provider), PlugChatUnavailable)
    assert len(provider.requests) == 4


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Client(Provider(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert "refused" in refusal(client, PlugChatUnavailable)
    assert len(client.waits) == 3


def test_an_unknown_host():
    client = Client(Provider("http://nobody.localhost:1"))
    assert "nobody.localhost:1" in refusal(client, PlugChatUnavailable)


def test_a_slow_answer_is_not_asked_for_again(serve):
    provider = serve()
    provider.answers = [provider.hang]
    assert "within 0.2 seconds" in refusal(Client(provider, timeout=0.2), PlugChatUnavailable)
    assert len(provider.requests) == 1


def test_an_answer_that_stops_in_the_middle(serve):
    provider = serve()
    provider.answers = [provider.hang_in_the_middle]
    assert "whole answer" in refusal(Client(provider, timeout=0.2), PlugChatUnavailable)
    assert len(provider.requests) == 1


def test_an_answer_that_is_cut(serve):
    provider = serve(drop_in_the_middle)
    assert "whole answer" in refusal(Client(provider), PlugChatUnavailable)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(serve, status):
    elsewhere = serve()
    provider = serve((status, {"Location": f"{elsewhere.base_url}/update-webhook-delivery"}, b""))
    assert "redirects" in refusal(Client(provider), PlugChatRequestError)
    assert len(provider.requests) == 1
    assert elsewhere.requests == []


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate(serve, tls):
    provider = serve(tls=tls)
    Client(provider).update_delivery_webhook(WEBHOOK)
    assert provider.requests[0][2].get_all("Authorization") == [TOKEN]


def test_an_untrusted_certificate(serve, tls):
    provider = serve(tls=tls)
    client = Client(provider)
    text = refusal(client, PlugChatUnavailable)
    assert "CERTIFICATE_VERIFY_FAILED" in text
    assert "REQUESTS_CA_BUNDLE" in text
    assert provider.requests == []
    assert client.waits == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host(serve, authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("example.com").configure_cert(context)
    provider = serve(tls=context)
    assert "no secure connection" in refusal(Client(provider), PlugChatUnavailable)
    assert provider.requests == []


def test_a_server_without_tls(serve):
    provider = serve()
    client = Client(provider, base_url=provider.base_url.replace("http://127.0.0.1", "https://localhost"))
    assert "no secure connection" in refusal(client, PlugChatUnavailable)
    assert provider.requests == []


def test_a_certificate_bundle_that_is_not_there(serve, tls, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    client = Client(serve(tls=tls))
    assert "REQUESTS_CA_BUNDLE" in refusal(client, PlugChatUnavailable)
    assert client.waits == []


@pytest.mark.usefixtures("trusted")
def test_a_netrc_does_not_replace_the_token(serve, tls, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    provider = serve(tls=tls)
    # What requests would do with a header.
    requests.put(f"{provider.base_url}/x", data=b"{}", headers={"Authorization": TOKEN}, timeout=10)
    Client(provider).update_delivery_webhook(WEBHOOK)
    replaced, sent = (headers["Authorization"] for _, _, headers, _ in provider.requests)
    assert replaced.startswith("Basic ")
    assert sent == TOKEN


def test_a_proxy_does_not_see_what_is_meant_for_this_machine(serve, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
    monkeypatch.setenv("http_proxy", proxy.base_url)
    monkeypatch.setenv("NO_PROXY", "")
    provider = serve()
    Client(provider).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 1
    assert proxy.requests == []


@pytest.mark.parametrize("token", ["", " ", "to ken", f"{TOKEN}\n", f"{TOKEN}\r\nX: y", "tok\x7fen", "açaí"])
def test_unusable_tokens_are_not_quoted(token):
    with pytest.raises(ValueError, match="token must be") as caught:
        PlugChatClient(token=token)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "www.plugchat.com.br",
        "ftp://www.plugchat.com.br",
        "http://www.plugchat.com.br/api/whatsapp",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "http://",
        "https://",
        "https://somebody:else@www.plugchat.com.br",
        "https://www.plugchat.com.br/?a=b",
        "https://www.plugchat.com.br/#a",
        "https://www.plugchat.com.br:http/",
        "https://www..com.br/",
        "https://[::1",
        "https://www.plugchat.com.br/ a",
    ],
)
def test_unusable_base_urls(base_url):
    with pytest.raises(ValueError, match="The URL"):
        PlugChatClient(token=TOKEN, base_url=base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        DEFAULTS["API_URL"],
        "HTTPS://api.example.com:8443/v2/",
        "https://10.0.0.1",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://127.1",
        "http://[::1]:8000",
        "http://[::ffff:127.0.0.1]:8000",
    ],
)
def test_usable_base_urls(base_url):
    assert PlugChatClient(token=TOKEN, base_url=base_url).url.endswith("/update-webhook-delivery")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e300])
def test_unusable_timeouts(timeout):
    with pytest.raises(ValueError, match="timeout"):
        PlugChatClient(token=TOKEN, timeout=timeout)


def test_the_longest_timeout(serve):
    Client(serve(), timeout=threading.TIMEOUT_MAX).update_delivery_webhook(WEBHOOK)
