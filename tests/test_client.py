import json
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

import django_plugchat
from django_plugchat.client import (
    PlugChatAuthError,
    PlugChatClient,
    PlugChatError,
    PlugChatRequestError,
    PlugChatUnavailable,
    ZApiClient,
)
from django_plugchat.conf import DEFAULTS
from django_plugchat.provider.calls import DELIVERY_WEBHOOK, UPDATE_WEBHOOKS
from tests.provider import (
    TAKEN,
    Authority,
    Provider,
    drop,
    drop_in_the_middle,
    forget_environment,
    serving,
)

TOKEN = "1nEFbU3EktLnV7LIIzX"
SECRET = "a-secret-of-this-test-in-the-url"
WEBHOOK = f"https://example.com/plugchat/callback/{SECRET}/"


@pytest.fixture
def serve() -> Iterator[Callable[..., Provider]]:
    with serving() as serve:
        yield serve


def client_of(provider: Provider, **options: Any) -> PlugChatClient:
    return PlugChatClient(**{"token": TOKEN, "base_url": provider.base_url, "timeout": 10} | options)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited before each further attempt."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: seconds and waits.append(seconds))
    return waits


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)


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


@pytest.mark.parametrize(
    ("register", "path", "sent"),
    [
        (
            lambda client: client.update_delivery_webhook(WEBHOOK),
            "/api/whatsapp/update-webhook-delivery",
            {"value": WEBHOOK},
        ),
        (
            lambda client: client.update_message_status_webhook(WEBHOOK),
            "/api/whatsapp/update-webhook-message-status",
            {"value": WEBHOOK},
        ),
        (
            lambda client: client.update_webhooks({"sendingMessage": WEBHOOK, "messageStatus": WEBHOOK}),
            "/api/integrations/update-webhooks",
            {"sendingMessage": WEBHOOK, "messageStatus": WEBHOOK},
        ),
    ],
)
def test_the_requests_are_the_documented_ones(serve, waits, register, path, sent):
    provider = serve()
    register(client_of(provider))
    [(method, asked, headers, body)] = provider.requests
    assert (method, asked) == ("PUT", path)
    assert headers.get_all("Authorization") == [TOKEN]
    assert headers.get_all("Content-Type") == ["application/json"]
    assert headers["User-Agent"] == f"django-plugchat/{django_plugchat.__version__}"
    assert json.loads(body) == sent
    assert waits == []


def test_both_webhooks_of_the_connection_are_registered(serve):
    provider = serve()
    client_of(provider).update_connection_webhooks(WEBHOOK)
    assert [path.rpartition("/")[2] for _, path, _, _ in provider.requests] == [
        "update-webhook-connected",
        "update-webhook-disconnected",
    ]


def test_the_provider_is_where_its_pages_say():
    client = PlugChatClient(token=TOKEN)
    base = "https://www.plugchat.com.br/api"
    assert client.url_of(DELIVERY_WEBHOOK) == f"{base}/whatsapp/update-webhook-delivery"
    assert client.url_of(UPDATE_WEBHOOKS) == f"{base}/integrations/update-webhooks"


def test_todays_call_below_a_base_of_another_shape():
    client = PlugChatClient(token=TOKEN, base_url="http://localhost:8000/")
    assert client.url_of(UPDATE_WEBHOOKS) == "http://localhost:8000/integrations/update-webhooks"


@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b'{"value": true, "more": [1]}'),
        ({"Content-Type": "text/html"}, b'{"value": true}'),
        ({"Content-Type": "text/html"}, b""),
        ({}, b""),
        ({}, b"[true]"),
        ({}, b'{"value": null}'),
        ({"Content-Type": "text/plain"}, b"OK"),
    ],
)
def test_any_2xx_is_a_yes(serve, status, headers, content):
    client_of(serve((status, headers, content))).update_delivery_webhook(WEBHOOK)


@pytest.mark.parametrize("status", [200, 201])
def test_a_refused_url(serve, status):
    provider = serve((status, {}, b'{"value": false}'))
    assert "refused the URL" in refusal(client_of(provider), PlugChatRequestError)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b"\xef\xbb\xbf <!doctype html>"),
        ({"Content-Type": "text/html; charset=utf-8"}, b"Welcome"),
        ({"Content-Type": "application/xml"}, b"?"),
    ],
)
def test_an_answer_that_is_not_the_apis(serve, headers, content):
    text = refusal(client_of(serve((200, headers, content))), PlugChatRequestError)
    assert "not the API of PlugChat" in text
    assert "API_URL" in text


def test_json_that_no_parser_takes_is_no_refusal(serve):
    client_of(serve((200, {}, b"[" * 60_000))).update_delivery_webhook(WEBHOOK)


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (400, PlugChatRequestError, "HTTP 400"),
        (401, PlugChatAuthError, "TOKEN"),
        (403, PlugChatAuthError, "TOKEN"),
        (404, PlugChatRequestError, "API_URL"),
        (500, PlugChatUnavailable, "HTTP 500"),
        (600, PlugChatRequestError, "HTTP 600"),
    ],
)
def test_answers_that_another_try_would_not_change(serve, waits, status, kind, hint):
    provider = serve((status, {"Retry-After": "1"}, b""))
    assert hint in refusal(client_of(provider), kind)
    assert len(provider.requests) == 1
    assert waits == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, PlugChatRequestError),
        (502, PlugChatUnavailable),
        (503, PlugChatUnavailable),
        (504, PlugChatUnavailable),
    ],
)
def test_a_passing_trouble_is_waited_out_three_times(serve, waits, status, kind):
    provider = serve((status, {}, b""))
    assert str(status) in refusal(client_of(provider), kind)
    assert len(provider.requests) == 4
    assert waits == [1, 2]


@pytest.mark.parametrize("trouble", [(429, {}, b""), (502, {}, b""), (503, {}, b""), (504, {}, b""), drop])
def test_a_trouble_that_passes_is_none(serve, trouble):
    provider = serve(trouble, trouble, trouble, TAKEN)
    client_of(provider).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 4


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_in_seconds(serve, waits, status):
    client_of(serve((status, {"Retry-After": "7"}, b""), TAKEN)).update_delivery_webhook(WEBHOOK)
    assert waits == [7]


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1.5", "\xb2", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_that_says_nothing(serve, waits, value):
    trouble = (503, {"Retry-After": value}, b"")
    provider = serve(trouble, trouble, TAKEN)
    client_of(provider).update_delivery_webhook(WEBHOOK)
    assert waits == [1]


@pytest.mark.parametrize(
    ("status", "kind"), [(429, PlugChatRequestError), (503, PlugChatUnavailable), (504, PlugChatUnavailable)]
)
@pytest.mark.parametrize("value", ["31", "999999999"])
def test_a_long_retry_after_is_not_waited_for(serve, waits, status, kind, value):
    provider = serve((status, {"Retry-After": value}, b""))
    assert "Try again later" in refusal(client_of(provider), kind)
    assert len(provider.requests) == 1
    assert waits == []


def test_the_longest_retry_after(serve, waits):
    client_of(serve((503, {"Retry-After": "30"}, b""), TAKEN)).update_delivery_webhook(WEBHOOK)
    assert waits == [30]


def test_dropped_connections_are_tried_again(serve):
    provider = serve(drop)
    assert "can't be reached" in refusal(client_of(provider), PlugChatUnavailable)
    assert len(provider.requests) == 4


def test_nobody_listens(waits):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = client_of(Provider(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert "refused" in refusal(client, PlugChatUnavailable)
    assert waits == [1, 2]


def test_an_unknown_host():
    client = client_of(Provider("https://nobody.localhost:1"))
    assert "nobody.localhost:1" in refusal(client, PlugChatUnavailable)


@pytest.mark.parametrize("way", ["hang", "hang_in_the_middle", "drip_headers", "drip_body"])
def test_an_answer_that_does_not_end_is_given_up_at_the_deadline(serve, way):
    provider = serve()
    provider.answers = [getattr(provider, way)]
    text = refusal(client_of(provider, timeout=0.3), PlugChatUnavailable)
    assert "whole answer" in text
    assert "within 0.3 seconds" in text
    # It may have been taken already.
    assert len(provider.requests) == 1


def test_the_deadline_is_for_each_attempt(serve, monkeypatch):
    # Longer than the deadline: what is waited between two attempts belongs to neither.
    monkeypatch.setattr(time, "sleep", lambda seconds: threading.Event().wait(0.5))
    provider = serve((503, {"Retry-After": "1"}, b""), TAKEN)
    client_of(provider, timeout=0.4).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 2


def test_an_answer_that_is_cut(serve):
    provider = serve(drop_in_the_middle)
    assert "whole answer" in refusal(client_of(provider), PlugChatUnavailable)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("answers", [[drop, TAKEN], [(503, {}, b""), TAKEN], [TAKEN]])
def test_urllib3_logs_nothing_of_it(serve, caplog, answers):
    with caplog.at_level(logging.DEBUG):
        client_of(serve(*answers)).update_delivery_webhook(WEBHOOK)
    assert [record.name for record in caplog.records if record.name.startswith("urllib3")] == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(serve, status):
    elsewhere = serve()
    provider = serve((status, {"Location": f"{elsewhere.base_url}/update-webhook-delivery"}, b""))
    assert f"HTTP {status}" in refusal(client_of(provider), PlugChatRequestError)
    assert len(provider.requests) == 1
    assert elsewhere.requests == []


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    return authority.tls("localhost")


def test_an_untrusted_certificate(serve, tls, waits):
    provider = serve(tls=tls)
    client = client_of(provider)
    text = refusal(client, PlugChatUnavailable)
    assert "CERTIFICATE_VERIFY_FAILED" in text
    assert "REQUESTS_CA_BUNDLE" in text
    assert provider.requests == []
    assert waits == []


def test_a_netrc_does_not_replace_the_token(serve, authority, tls, tmp_path, monkeypatch):
    authority.trust(tmp_path, monkeypatch)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    provider = serve(tls=tls)
    # What requests would do with a header.
    requests.put(f"{provider.base_url}/x", data=b"{}", headers={"Authorization": TOKEN}, timeout=10)
    client_of(provider).update_delivery_webhook(WEBHOOK)
    replaced, sent = (headers["Authorization"] for _, _, headers, _ in provider.requests)
    assert replaced.startswith("Basic ")
    assert sent == TOKEN


def test_a_proxy_does_not_see_what_is_meant_for_this_machine(serve, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
    monkeypatch.setenv("http_proxy", proxy.base_url)
    monkeypatch.setenv("NO_PROXY", "")
    provider = serve()
    client_of(provider).update_delivery_webhook(WEBHOOK)
    assert len(provider.requests) == 1
    assert proxy.requests == []


@pytest.mark.parametrize("token", ["", "to ken", f"{TOKEN}\r\nX: y", "açaí"])
def test_unusable_tokens_are_not_quoted(token):
    with pytest.raises(ValueError, match="token must be") as caught:
        PlugChatClient(token=token)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "http://www.plugchat.com.br/api/whatsapp",
        "https://www.plugchat.com.br/?a=b",
    ],
)
def test_unusable_base_urls(base_url):
    with pytest.raises(ValueError, match="The URL"):
        PlugChatClient(token=TOKEN, base_url=base_url)


@pytest.mark.parametrize("base_url", [DEFAULTS["API_URL"], "HTTPS://api.example.com:8443/v2/", "http://[::1]:8000"])
def test_usable_base_urls(base_url):
    assert PlugChatClient(token=TOKEN, base_url=base_url).url_of("me") == f"{base_url.rstrip('/')}/me"


@pytest.mark.parametrize("timeout", [0, float("nan"), float("inf")])
def test_unusable_timeouts(timeout):
    with pytest.raises(ValueError, match="timeout"):
        PlugChatClient(token=TOKEN, timeout=timeout)


def test_the_longest_timeout(serve):
    client_of(serve(), timeout=threading.TIMEOUT_MAX).update_delivery_webhook(WEBHOOK)


# Z-API

INSTANCE = "3B8D1E0F5A724C96A1D0E7F2B4C6985A"
CLIENT_TOKEN = "F1e4d5client-token"
WEBHOOKS = {
    "update_delivery_webhook": ["update-webhook-delivery"],
    "update_message_status_webhook": ["update-webhook-message-status"],
    "update_connection_webhooks": ["update-webhook-connected", "update-webhook-disconnected"],
}


def z_api_of(provider: Provider, **options: Any) -> ZApiClient:
    base_url = provider.base_url.removesuffix("/api/whatsapp")
    return ZApiClient(**{"instance": INSTANCE, "token": TOKEN, "base_url": base_url} | options)


@pytest.mark.parametrize("method", WEBHOOKS)
@pytest.mark.parametrize("client_token", ["", CLIENT_TOKEN])
def test_the_engines_requests_are_the_documented_ones(serve, method, client_token):
    provider = serve()
    getattr(z_api_of(provider, client_token=client_token), method)(WEBHOOK)
    assert [path for _, path, _, _ in provider.requests] == [
        f"/instances/{INSTANCE}/token/{TOKEN}/{webhook}" for webhook in WEBHOOKS[method]
    ]
    for verb, _path, headers, body in provider.requests:
        assert verb == "PUT"
        assert json.loads(body) == {"value": WEBHOOK}
        assert headers["Content-Type"] == "application/json"
        assert headers.get_all("Client-Token") == ([client_token] if client_token else None)
        assert "Authorization" not in headers


def test_the_engine_is_where_its_pages_say():
    client = ZApiClient(instance=INSTANCE, token=TOKEN)
    assert (
        client.url_of(DELIVERY_WEBHOOK) == f"https://api.z-api.io/instances/{INSTANCE}/token/{TOKEN}/{DELIVERY_WEBHOOK}"
    )
    assert TOKEN not in repr(client)


def test_what_the_engine_has_registered_without_its_token(serve):
    said = {
        "token": TOKEN,
        "name": "Loja",
        "deliveryCallbackUrl": WEBHOOK,
        "messageStatusCallbackUrl": None,
        "callbackTypeFilters": ["FILTER_PRESENCE_CHAT_CALLBACK"],
    }
    provider = serve((200, {}, json.dumps(said).encode()))
    assert z_api_of(provider).registered() == {
        "deliveryCallbackUrl": WEBHOOK,
        "messageStatusCallbackUrl": None,
        "callbackTypeFilters": ["FILTER_PRESENCE_CHAT_CALLBACK"],
    }
    [(verb, path, _headers, body)] = provider.requests
    assert (verb, path, body) == ("GET", f"/instances/{INSTANCE}/token/{TOKEN}/me", b"")


@pytest.mark.parametrize("content", [b"[1]", b"OK", b"", b'{"deliveryCallbackUrl": 1, "callbackTypeFilters": 7}'])
def test_an_engine_that_says_nothing_of_itself(serve, content):
    assert z_api_of(serve((200, {}, content))).registered() == {}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((400, {}, b'{"error":"your client-token is not configured"}'), PlugChatAuthError),
        ((403, {}, b'{"error":"Client-Token F1e4d5client-token not allowed"}'), PlugChatAuthError),
        ((401, {}, b'{"error":"[203.0.113.7] not allowed"}'), PlugChatAuthError),
        ((400, {}, b'{"error":"Instance not found"}'), PlugChatRequestError),
        ((500, {}, b""), PlugChatUnavailable),
        (drop, PlugChatUnavailable),
    ],
)
def test_what_the_engine_refuses_is_told_without_its_words(serve, caplog, answer, kind):
    provider = serve(answer)
    with caplog.at_level(logging.DEBUG):
        text = refusal(z_api_of(provider, client_token=CLIENT_TOKEN), kind)
    assert "Z-API" in text
    assert CLIENT_TOKEN not in text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"instance": ""},
        {"instance": "a/b"},
        {"token": ""},
        {"token": "to/ken"},
        {"token": ".."},
        {"client_token": "to ken"},
        {"base_url": "http://api.z-api.io"},
    ],
)
def test_what_can_be_no_account_of_the_engine(options):
    with pytest.raises(ValueError, match="must") as caught:
        ZApiClient(**{"instance": INSTANCE, "token": TOKEN} | options)
    assert TOKEN not in str(caught.value)
