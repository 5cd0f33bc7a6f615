import json
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.core.wsgi import get_wsgi_application

from django_plugchat.registering.probe import HARMLESS, ProbeError, probe
from tests.databases import raising
from tests.payloads import SECRET, URL
from tests.provider import (
    Authority,
    Provider,
    drop,
    drop_in_the_middle,
    forget_environment,
    resolve_here,
    serving,
)

HOST = "shop.example.com"
# What is said of each obstacle, and of no other.
CONNECTION = "There is no connection"
TIMEOUT = "no whole answer"
PROXY = "The proxy of this machine's environment"
TLS = "no secure connection"
HTTPS_LOOP = "SECURE_PROXY_SSL_HEADER"
REDIRECT = "which loses the POST"
BAD_REQUEST = "ALLOWED_HOSTS"
TURNED_AWAY = "the secret is the password"
SECRET_UNKNOWN = "does not know the secret"
BROKEN = "The application fails"
NOT_OURS = "another application"
IGNORED = (200, {"Content-Type": "application/json"}, b'{"status": "ignored"}')


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    return authority.tls(HOST)


@pytest.fixture(autouse=True)
def _world(authority: Authority, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to this machine, and an authority that is trusted."""
    forget_environment(monkeypatch)
    resolve_here(monkeypatch, HOST)
    authority.trust(tmp_path, monkeypatch)


@pytest.fixture
def serve(tls: ssl.SSLContext) -> Iterator[Callable[..., Provider]]:
    with serving() as serve:
        yield lambda *answers, **options: serve(*answers, **{"tls": tls} | options)


@contextmanager
def site(tls: ssl.SSLContext) -> Iterator[int]:
    """This project behind TLS, on a port."""

    class Handler(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def url_at(port: int, path: str = URL, host: str = HOST) -> str:
    return f"https://{host}:{port}{path}"


def found(url: str, timeout: float = 10) -> str:
    """What stands in the way, told without the secret."""
    with pytest.raises(ProbeError) as caught:
        probe(url, timeout=timeout)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(error))
    text = str(error)
    assert "%" not in text
    assert "\n" not in text
    return text


def test_nothing_stands_in_the_way(tls, settings):
    settings.ALLOWED_HOSTS = [HOST]
    with site(tls) as port:
        probe(url_at(port), timeout=10)


def test_what_is_posted_is_harmless(serve):
    provider = serve(IGNORED)
    probe(url_at(provider.port), timeout=10)
    [(method, path, headers, body)] = provider.requests
    assert (method, path) == ("POST", URL)
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("django-plugchat/")
    assert json.loads(body) == HARMLESS
    assert not {"phone", "ids", "messageId", "zaapId"} & HARMLESS.keys()


@pytest.mark.django_db
def test_the_app_keeps_nothing_of_it(post, caplog):
    assert post(HARMLESS).json() == {"status": "ignored"}
    assert caplog.records == []


def test_a_name_that_is_not_found(monkeypatch):
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", raising(unknown))
    text = found(url_at(443))
    assert CONNECTION in text
    assert "Name or service not known" in text
    assert "DNS" in text


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        text = found(url_at(taken.getsockname()[1]))
    assert CONNECTION in text
    assert HOST in text


@pytest.mark.parametrize("way", ["hang", "hang_in_the_middle", "drip_headers", "drip_body"])
def test_no_answer_in_time_may_be_so_from_inside_only(serve, way):
    provider = serve()
    provider.answers = [getattr(provider, way)]
    text = found(url_at(provider.port), timeout=0.3)
    assert TIMEOUT in text
    assert "0.3" in text
    assert "from inside" in text


def test_a_server_that_says_nothing_to_the_handshake():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert TIMEOUT in found(url_at(silent.getsockname()[1]), timeout=0.3)


def test_a_connection_that_breaks(serve):
    assert CONNECTION in found(url_at(serve(drop).port))


def test_an_answer_that_breaks_off(serve):
    assert TIMEOUT in found(url_at(serve(drop_in_the_middle).port))


def test_a_proxy_of_this_machine(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        text = found(url_at(443))
    assert PROXY in text
    assert "NO_PROXY" in text


def test_a_certificate_of_an_unknown_authority(serve):
    provider = serve(IGNORED, tls=Authority().tls(HOST))
    text = found(url_at(provider.port))
    assert TLS in text
    assert "local issuer" in text
    assert "intermediate" in text
    assert provider.requests == []


def test_a_certificate_of_another_name(serve, authority):
    text = found(url_at(serve(IGNORED, tls=authority.tls("www.example.org")).port))
    assert TLS in text
    assert "ostname mismatch" in text


def test_no_tls(serve):
    assert TLS in found(url_at(serve(IGNORED, tls=None).port))


def test_a_certificate_bundle_that_is_not_there(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    text = found(url_at(serve(IGNORED).port))
    assert CONNECTION in text
    assert "REQUESTS_CA_BUNDLE" in text


@pytest.mark.parametrize(
    ("location", "obstacle", "shown"),
    [
        (f"https://login.example.com/?next={URL}", REDIRECT, "https://login.example.com/?****"),
        (f"http://{HOST}:{{port}}{URL}", REDIRECT, f"http://{HOST}"),
        (f"https://{HOST}:{{port}}{URL}", HTTPS_LOOP, "SECURE_PROXY_SSL_HEADER"),
        (URL, HTTPS_LOOP, "SECURE_PROXY_SSL_HEADER"),
        (f"/en{URL}", REDIRECT, "/en/plugchat/callback/****"),
        ("https://[::1", CONNECTION, "no connection"),
    ],
)
def test_redirects(serve, location, obstacle, shown):
    provider = serve()
    provider.answers = [(302, {"Location": location.format(port=provider.port)}, b"")]
    told = found(url_at(provider.port))
    assert obstacle in told
    assert shown in told
    assert len(provider.requests) == 1


def test_django_behind_a_proxy_that_does_not_say_https(tls, settings):
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = [HOST], True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    with site(tls) as port:
        assert HTTPS_LOOP in found(url_at(port))


def test_a_host_that_django_does_not_allow(tls, settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    with site(tls) as port:
        text = found(url_at(port))
    assert BAD_REQUEST in text
    assert HOST in text
    assert "WSGIServer" in text


@pytest.mark.django_db(transaction=True)
def test_a_site_that_does_not_know_the_secret(tls, settings):
    settings.ALLOWED_HOSTS = [HOST]
    with site(tls) as port:
        text = found(url_at(port, path="/plugchat/callback/an-old-or-mistyped-secret/"))
    assert SECRET_UNKNOWN in text
    assert "WEBHOOK_SECRETS" in text
    assert "mistyped" not in text


@pytest.mark.parametrize(
    ("answer", "obstacle", "hint"),
    [
        ((401, {}, b""), TURNED_AWAY, "password"),
        ((403, {"Server": "cloudflare"}, b"<html>"), TURNED_AWAY, "(server: cloudflare)"),
        ((404, {}, b"<html>"), NOT_OURS, "another application"),
        ((404, {}, b'{"error": "no such page"}'), NOT_OURS, "another application"),
        ((429, {"Retry-After": "86400"}, b""), TURNED_AWAY, "HTTP 429"),
        ((304, {}, b""), NOT_OURS, "HTTP 304"),
        ((500, {}, b""), BROKEN, "log"),
        ((503, {"Retry-After": "1"}, b""), BROKEN, "HTTP 503"),
        ((200, {}, b"<html>Welcome</html>"), NOT_OURS, "parked"),
        ((200, {}, b'{"status": "ok"}'), NOT_OURS, "parked"),
        ((201, {}, b'{"status": "ignored"}'), NOT_OURS, "HTTP 201"),
        ((200, {}, b"a" * 100_000), NOT_OURS, "parked"),
    ],
)
def test_answers_of_others(serve, answer, obstacle, hint):
    provider = serve(answer)
    told = found(url_at(provider.port))
    assert obstacle in told
    assert hint in told
    assert len(provider.requests) == 1


@pytest.mark.parametrize("name", [SECRET, "\x1b[2J", "x" * 201])
def test_a_server_name_is_shown_without_a_secret_or_a_command(serve, name):
    assert name not in found(url_at(serve((500, {"Server": f"nginx {name}"}, b"")).port))


def test_what_another_server_sends_is_no_command_for_the_terminal(serve):
    provider = serve((302, {"Location": "https://login.example.com/\x1b[2J\xc2\x9b1mhello\x07" + "x" * 1000}, b""))
    text = found(url_at(provider.port))
    assert REDIRECT in text
    assert text.isprintable()
    assert len(text) < 700


@pytest.mark.django_db(transaction=True)
def test_that_the_way_is_free_is_seen_without_a_secret_that_is_known(tls, settings):
    settings.ALLOWED_HOSTS = [HOST]
    with site(tls) as port:
        probe(url_at(port, path="/plugchat/callback/a-made-up-secret/"), timeout=10, secret_is_known=False)
