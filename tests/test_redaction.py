"""No secret, token, payload or whole number in a text, a record, a request that is done with, or a Sentry event."""

import json
import logging
import os
import subprocess
import sys
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.core.exceptions import SuspiciousFileOperation, SuspiciousOperation, TooManyFieldsSent
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject, empty
from django.utils.log import configure_logging

from django_plugchat.conf import Configured, app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.redaction import (
    MASK,
    RedactingFilter,
    before_send,
    hide_secret,
    mask_url,
    protect_django_logs,
    redact,
    texts,
)

from .databases import Interrupt, raising
from .payloads import EXAMPLE, RETIRING_SECRET, SECRET, SECRET_OF_NORTE, URL

WRONG = "some-wrong-secret"
CREDENTIAL = "token-of-an-instance-in-a-header"
CONFIDENTIAL = [
    SECRET,
    RETIRING_SECRET,
    SECRET_OF_NORTE,
    "token-of-the-default-account",
    "token-of-norte",
    EXAMPLE["phone"],
    WRONG,
    CREDENTIAL,
]
SEARCH = f"/admin/django_plugchat/deliveryevent/?q={EXAMPLE['phone']}"
PERCENT = "/plugchat/%63allback/%66irst-secret-of-the-default-account/"


def assert_silent(*values: Any) -> None:
    for value in values:
        shown = str(value)
        assert not [text for text in CONFIDENTIAL if text in shown or text[1:] in shown], shown


def assert_silent_records(records: list[logging.LogRecord]) -> None:
    formatter = logging.Formatter("%(message)s")
    for record in records:
        assert_silent(record.getMessage(), record.__dict__, formatter.format(record))


# Texts and URLs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"POST {URL} HTTP/1.1", f"POST /plugchat/callback/{MASK}/ HTTP/1.1"),
        (f'"{URL.rstrip("/")}" 200', f'"/plugchat/callback/{MASK}" 200'),
        (f"/plugchat/callback/{WRONG}/more?x=1", f"/plugchat/callback/{MASK}"),
        (f"/PLUGCHAT/CALLBACK//{WRONG}", f"/PLUGCHAT/CALLBACK//{MASK}"),
        (f"x {PERCENT} y", f"x /plugchat/callback/{MASK}/ y"),
        ("%2563allback/abc", f"callback/{MASK}"),
        (f"next=%2Fplugchat%2Fcallback%2F{WRONG}%2F", f"next=/plugchat/callback/{MASK}/"),
        ("/elsewhere/%66irst-secret-of-the-default-account/", f"/elsewhere/{MASK}/"),
        # Mistyped with what ends it elsewhere
        (f"/callback/ab'{WRONG}\"<x>/ HTTP/1.1", f"/callback/{MASK}/ HTTP/1.1"),
        (f"/callback/'{WRONG}'", f"/callback/{MASK}'"),
        (f'{{"path":"/callback/{WRONG}/","status":404}}', f'{{"path":"/callback/{MASK}/","status":404}}'),
        (f"<POST '/callback/{WRONG}/'>", f"<POST '/callback/{MASK}/'>"),
        # Z-API's calls
        (
            f"PUT https://api.z-api.io/instances/3C/token/{WRONG}/me",
            f"PUT https://api.z-api.io/instances/3C/token/{MASK}",
        ),
        (f"GET {SEARCH}&o=1 HTTP/1.1", f"GET /admin/django_plugchat/deliveryevent/?{MASK} HTTP/1.1"),
        (
            f"/admin/login/?next=/admin/django_plugchat/deliveryevent/%3Fq%3D{EXAMPLE['phone'][:4]}%20{'9' * 8}",
            f"/admin/login/?{MASK}",
        ),
        # However often it is escaped
        ("/%252525252525252563allback/abc", f"/callback/{MASK}"),
        ("/%2525252525252566irst-secret-of-the-default-account", f"/{MASK}"),
        (f"/admin/autocomplete/?term={EXAMPLE['phone']}&app_label=shop", f"/admin/autocomplete/?{MASK}"),
        # What stays
        ("100% of 5544999999999", "100% of 5544999999999"),
        ("/accounts/login/callback/?code=1", "/accounts/login/callback/?code=1"),
        ("/orders/%20/?q=5544999999999", "/orders/%20/?q=5544999999999"),
        ("django_plugchat.models", "django_plugchat.models"),
        ("", ""),
    ],
)
def test_redact(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://example.com{URL}", f"https://example.com/plugchat/callback/{MASK}/"),
        (f"https://example.com{URL}?a=b", f"https://example.com/plugchat/callback/{MASK}/?{MASK}"),
        ("https://example.com/callback/a b'c", f"https://example.com/callback/{MASK}"),
        (f"https://{SECRET}.example.com/", f"https://{MASK}.example.com/"),
        ("https://example.com/a?token=b", f"https://example.com/a?{MASK}"),
        ("https://example.com", "https://example.com"),
    ],
)
def test_mask_url(url, shown):
    assert mask_url(url) == shown


def test_what_a_text_costs_does_not_grow_with_the_accounts(plugchat):
    def seconds(accounts: int) -> float:
        secrets = [f"a-secret-of-the-account-{number:05}-and-more" for number in range(accounts)]
        plugchat(ACCOUNTS={secret: {"TOKEN": f"{secret}/=", "WEBHOOK_SECRETS": [secret]} for secret in secrets})
        text = f"POST {URL} {secrets[0]} and {secrets[0]}/= and id{secrets[0]}x" + "a-secret-of-the-account- " * 50
        assert redact(text).count(MASK) == 4
        return min(timeit.repeat(lambda: redact(text), number=20, repeat=5))

    assert seconds(5000) < 3 * seconds(1)


TOKENS = ["to.ken+of/norte==", "a\"token<with>all'of-it", "8letters"]


@pytest.mark.parametrize("token", ["tok", *TOKENS])
def test_tokens_of_any_characters(plugchat, token):
    plugchat(ACCOUNTS={"a": {"TOKEN": token, "CLIENT_TOKEN": f"client-{token}"}})
    assert redact(f"Authorization: {token}, so") == f"Authorization: {MASK}, so"
    assert redact(f"token={token} ") == f"token={MASK} "
    assert redact(f"Client-Token: client-{token}") == f"Client-Token: {MASK}"
    plugchat(ACCOUNTS={})
    assert redact(token) == token


@pytest.mark.parametrize("confidential", [SECRET, *TOKENS])
@pytest.mark.parametrize(
    "text",
    ["x={};", "{}.json", "id{}", "{}2", "x-{}_y", "/{}/x", "a.{}+b", "{}{}", "['{}']", "\\n{}\\n", "é{}é", "{}/=={}=="],
)
def test_what_stands_beside_a_secret_does_not_matter(plugchat, confidential, text):
    plugchat(ACCOUNTS={"a": {"TOKEN": confidential}, "b": {"TOKEN": confidential[:-1] + "~~"}})
    assert redact(text.format(*[confidential] * 2)) == text.format(MASK, MASK)


def test_a_short_token_is_no_part_of_a_word(plugchat):
    plugchat(ACCOUNTS={"a": {"TOKEN": "tok", "WEBHOOK_SECRETS": [SECRET]}})
    assert redact("tokens: 'tok', tok-1, tok1, _tok") == f"tokens: '{MASK}', {MASK}-1, tok1, _{MASK}"
    # Nor where a longer one that begins like it would go beyond the end.
    plugchat(ACCOUNTS={"a": {"TOKEN": "tok"}, "b": {"TOKEN": "token-of-another"}})
    assert redact("mytok") == "mytok"


def test_before_the_project_is_loaded():
    """A server's own process logs before it has settings."""
    code = f"from django_plugchat.redaction import redact; print(redact('{URL} {SECRET}'))"
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"/plugchat/callback/{MASK}/ {SECRET}"


# The request, once the secret has been read


class Seen:
    """Middleware that keeps the request and what it shows when the answer is there."""

    request: Any
    headers_before: Any

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        type(self).headers_before = dict(request.headers)
        response = self.get_response(request)
        type(self).request = request
        return response


def shown_by(request: Any) -> list[Any]:
    frames = [request.path, request.path_info, request.get_full_path(), request.build_absolute_uri(), repr(request)]
    meta = {key: value for key, value in request.META.items() if not key.startswith("wsgi.")}
    return [*frames, meta, request.headers, request.resolver_match, vars(request.resolver_match)]


@pytest.mark.django_db
@pytest.mark.parametrize("prefix", ["", "/shop"])
@pytest.mark.parametrize(("secret", "status"), [(SECRET, 200), (WRONG, 404), ("%73ome-wrong-secret/and/more", 404)])
def test_a_request_has_nothing_left_to_show(settings, secret, status, prefix):
    settings.MIDDLEWARE = [f"{__name__}.Seen"]
    url = f"/plugchat/callback/{secret}/"
    client = Client(headers={"z-api-token": CREDENTIAL, "x-original-uri": f"{prefix}{url}?a=b"})
    raw = f"{prefix}{url}"
    response = client.post(
        url, EXAMPLE, content_type="application/json", SCRIPT_NAME=prefix, RAW_URI=raw, REQUEST_URI=raw
    )
    assert response.status_code == status
    request = Seen.request
    hidden = f"{prefix}/plugchat/callback/{MASK}/"
    assert request.path == request.META["RAW_URI"] == request.META["REQUEST_URI"] == hidden
    assert request.path_info == request.META["PATH_INFO"] == f"/plugchat/callback/{MASK}/"
    assert "Z-Api-Token" in Seen.headers_before
    assert "Z-Api-Token" not in request.headers
    assert request.headers["Content-Type"]
    assert_silent(*shown_by(request))


def test_a_scope_of_asgi_has_nothing_left_to_show():
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/plugchat/callback/{WRONG}/",
        "raw_path": f"/plugchat/callback/{WRONG}/".encode(),
        "query_string": f"again={WRONG}".encode(),
        "headers": [
            (b"host", b"testserver"),
            (b"x-original-uri", f"/hooks/wa/{WRONG}/".encode()),
            (b"x-note", b"\xe9"),
            (b"Z-Api-Token", CREDENTIAL.encode()),
        ],
    }
    request = ASGIRequest(scope, None)
    hide_secret(request)
    assert scope["path"] == request.path == f"/plugchat/callback/{MASK}/"
    assert scope["headers"][1:] == [(b"x-original-uri", f"/hooks/wa/{MASK}/".encode()), (b"x-note", b"\xe9")]
    assert_silent(scope, request.META, request.headers, repr(request))


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (f"/hooks/wa/{WRONG}/", f"/hooks/wa/{MASK}/"),
        ("/hooks/wa/some%2Dwrong%2dsecret/", f"/hooks/wa/{MASK}/"),
        ("/hooks/wa/%2573ome-wrong-secret?a=b", f"/hooks/wa/{MASK}?a=b"),
        (f'by="{WRONG}";for=x', f'by="{MASK}";for=x'),
        ("text/html, 100%", "text/html, 100%"),
    ],
)
def test_headers_whose_path_a_proxy_has_rewritten(header, shown):
    """Also the secret of an account in the database, which no setting holds."""
    request = RequestFactory().post(f"/plugchat/callback/{WRONG}/", headers={"x-original-uri": header})
    hide_secret(request)
    assert request.headers["X-Original-Uri"] == request.META["HTTP_X_ORIGINAL_URI"] == shown
    assert_silent(request.META, request.headers, repr(request))


@pytest.mark.parametrize("path_of_nothing", ["/plugchat/callback", "/plugchat/callback/"])
def test_a_path_without_a_secret(path_of_nothing):
    request = RequestFactory().get(path_of_nothing, headers={"referer": "https://example.com/plugchat/callback/x"})
    hide_secret(request)
    assert request.path == f"/plugchat/callback/{MASK}/"
    assert request.META["HTTP_REFERER"].endswith(f"/callback/{MASK}")


def test_a_path_that_is_not_below_callback():
    request = RequestFactory().get(f"/{SECRET}/")
    hide_secret(request)
    assert request.path == f"/{MASK}/"


# Django's own records


@pytest.mark.django_db
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("status", "request_options"),
    [
        (404, {"path": f"/plugchat/callback/{WRONG}/"}),
        (404, {"path": f"/plugchat/callback/{WRONG}/%0a/x"}),
        (404, {"path": f"/plugchat/callback/{SECRET}%C3%A9/"}),
        (404, {"path": f"/plugchat/%63allback/{WRONG}/"}),
        (405, {"method": "GET"}),
        (415, {"content_type": "text/plain"}),
        (413, {"data": json.dumps(EXAMPLE) * 1000}),
        (411, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}),
        (200, {"data": json.dumps(EXAMPLE | {"type": "SomethingCallback"})}),
        (200, {"data": json.dumps(EXAMPLE | {"type": f"{SECRET}"})}),
        (400, {"data": json.dumps(EXAMPLE)[:-1]}),
        (400, {"data": json.dumps(EXAMPLE | {"zaapId": [EXAMPLE["phone"]]})}),
        (200, {"data": json.dumps(EXAMPLE)}),
        (503, {"data": json.dumps(EXAMPLE)}),
    ],
)
def test_records_of_each_answer(settings, caplog, status, request_options, debug):
    settings.DEBUG = debug
    caplog.set_level(logging.DEBUG, "django_plugchat")
    caplog.set_level(logging.DEBUG, "django.request")
    options: dict[str, Any] = {"method": "POST", "path": URL, "data": "{}", "content_type": "application/json"}
    client = Client(raise_request_exception=False, headers={"z-api-token": CREDENTIAL})
    fault = Interrupt("INSERT", raising(OperationalError(json.dumps(EXAMPLE))), times=9 if status == 503 else 0)
    with connection.execute_wrapper(fault):
        response = client.generic(**options | request_options)
    assert response.status_code == status
    assert_silent_records(caplog.records)
    for record in [record for record in caplog.records if record.name == "django.request"]:
        assert f"/plugchat/callback/{MASK}/" in record.getMessage()
        assert not hasattr(record, "request")


@pytest.mark.django_db
def test_requests_elsewhere_are_logged_as_ever(client, caplog):
    client.get("/not-ours/callback/?next=%20")
    (record,) = caplog.records
    assert record.getMessage() == "Not Found: /not-ours/callback/"
    assert record.request.path == "/not-ours/callback/"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path_of_request", "headers", "message"),
    [
        (f"/hooks/old/{SECRET}/", {}, f"Not Found: /hooks/old/{MASK}/"),
        ("/hooks/%2566irst-secret-of-the-default-account/", {}, f"Not Found: /hooks/{MASK}/"),
        (f"/hooks/?secret={SECRET}", {}, "Not Found: /hooks/"),
        ("/hooks/", {"z-api-token": CREDENTIAL}, "Not Found: /hooks/"),
    ],
)
def test_secrets_and_callbacks_at_other_paths(client, caplog, path_of_request, headers, message):
    client.get(path_of_request, headers=headers)
    (record,) = caplog.records
    assert record.getMessage() == message
    assert not hasattr(record, "request")
    assert_silent_records(caplog.records)


@pytest.mark.parametrize("urlconf", ["nowhere.at.all", SimpleNamespace(urlpatterns=[path("x/", HttpResponse), 1])])
def test_urls_that_can_not_be_resolved(caplog, urlconf):
    """The record is about that: the protection must not raise it again."""
    request = RequestFactory().get(URL)
    request.urlconf = urlconf
    logging.getLogger("django.request").error("Internal Server Error: %s", request.path, extra={"request": request})
    (record,) = caplog.records
    assert record.getMessage() == f"Internal Server Error: /plugchat/callback/{MASK}/"
    assert_silent_records(caplog.records)


@pytest.mark.django_db
def test_what_middleware_answers(client, caplog):
    assert client.post(URL, headers={"host": "not.allowed.example"}).status_code == 400
    assert caplog.records
    assert_silent_records(caplog.records)
    assert not [record for record in caplog.records if hasattr(record, "request")]


class OfTheProject(SuspiciousOperation):
    """Defined long after the app was loaded."""


class SuspectingMiddleware:
    kind: type[Exception]

    def __init__(self, get_response: Any) -> None: ...

    def __call__(self, request: Any) -> Any:
        raise self.kind(f"suspicious: {request.path}")


@pytest.mark.parametrize("kind", [SuspiciousOperation, SuspiciousFileOperation, TooManyFieldsSent, OfTheProject])
def test_what_middleware_suspects(client, settings, monkeypatch, caplog, kind):
    monkeypatch.setattr(SuspectingMiddleware, "kind", kind, raising=False)
    settings.MIDDLEWARE = [f"{__name__}.SuspectingMiddleware"]
    assert client.post(URL).status_code == 400
    assert f"django.security.{kind.__name__}" in [record.name for record in caplog.records]
    assert_silent_records(caplog.records)
    assert not [record for record in caplog.records if hasattr(record, "request")]


def test_a_request_that_is_not_answered_yet_keeps_its_path(caplog):
    """Middleware may log with it, and pass it on to the view."""
    request = RequestFactory().post(URL)
    logging.getLogger("django.request").warning("slow: %s", request.path, extra={"request": request})
    assert_silent_records(caplog.records)
    assert request.path_info == URL


@contextmanager
def handler_of(name: str) -> Iterator[BufferingHandler]:
    """A handler of a logger of its own, as a project configures it before the apps are loaded."""
    logger, handler = logging.getLogger(name), BufferingHandler(capacity=10)
    before = logger.handlers[:]
    logger.handlers[:] = [handler]
    try:
        yield handler
    finally:
        logger.handlers[:] = before


def test_loggers_below_djangos_that_have_handlers():
    request = RequestFactory().get(URL)
    with handler_of("django.security.DisallowedHost") as kept, handler_of("django.server"):
        protect_django_logs()
        protect_django_logs()
        assert len(logging.getLogger("django.security.DisallowedHost").handlers) == 2
        logging.getLogger("django.security.DisallowedHost").error("At %s", URL, extra={"request": request})
    assert kept.buffer[0].getMessage() == f"At /plugchat/callback/{MASK}/"
    assert_silent_records(kept.buffer)


def test_logging_that_is_configured_again(client, settings, monkeypatch, caplog):
    """As ``django.setup()`` does, which runs twice under runserver."""
    monkeypatch.setattr(SuspectingMiddleware, "kind", OfTheProject, raising=False)
    settings.MIDDLEWARE = [f"{__name__}.SuspectingMiddleware"]
    configure_logging("logging.config.dictConfig", {})
    assert client.post(URL).status_code == 400
    assert "django.security.OfTheProject" in [record.name for record in caplog.records]
    assert_silent_records(caplog.records)


def test_the_record_of_djangos_own_server(caplog):
    """Its ``request`` is a socket."""
    logging.getLogger("django.server").warning('"%s" %s %s', f"POST {URL} HTTP/1.1", "404", "9", extra={"request": 1})
    assert_silent_records(caplog.records)


# The filter for what the app does not log itself


def filtered(msg: Any, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "access", "msg": msg, "args": args or None, **extra})
    if len(args) == 1 and isinstance(args[0], dict):
        record.args = args[0]
    assert RedactingFilter().filter(record) is True
    return record


class Path:
    def __init__(self, path: str):
        self.path = path

    def __repr__(self) -> str:
        return f"<{self.path}>"


class Broken:
    def __str__(self) -> str:
        raise ValueError


class Atoms(dict):
    """As gunicorn passes them: ``-`` for what there is not."""

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key) if key in self else "-"


@pytest.mark.parametrize(
    ("msg", "args"),
    [
        (f'127.0.0.1 "POST {URL} HTTP/1.1" 200', ()),
        ('%s - "%s %s HTTP/%s" %d', ("127.0.0.1", "POST", URL, "1.1", 200)),
        ("%(r)s %(s)s", ({"r": f"POST {URL} HTTP/1.1", "s": 200},)),
        ("[CRITICAL] WORKER TIMEOUT %s", (URL,)),
        ("%s", (Path(URL),)),
        (Path(URL), ()),
        ("%s and %s", ([URL, {"a": (URL, 1, None)}], URL.encode())),
        (f"GET {SEARCH}&o=1 HTTP/1.1", ()),
        ("%s", (ValueError(URL),)),
        ("answering /plugchat/callback/%s/ with %d", ("abc", 200)),
        ("/admin/django_plugchat/deliveryevent/?q=%s", (EXAMPLE["phone"],)),
    ],
)
def test_redacting_filter(msg, args):
    record = filtered(msg, *args)
    assert MASK in record.getMessage()
    assert_silent_records([record])
    once = record.getMessage()
    RedactingFilter().filter(record)
    assert record.getMessage() == once


def test_redacting_filter_keeps_the_shape_of_arguments():
    """Formatters of servers take them apart."""
    record = filtered('%s - "%s %s HTTP/%s" %d', "127.0.0.1", "POST", URL, "1.1", 200)
    assert record.args == ("127.0.0.1", "POST", f"/plugchat/callback/{MASK}/", "1.1", 200)
    record = filtered("%(r)s %({x}i)s", Atoms(r=f"POST {URL} HTTP/1.1"))
    assert type(record.args) is Atoms
    assert record.getMessage() == f"POST /plugchat/callback/{MASK}/ HTTP/1.1 -"


def test_redacting_filter_leaves_wrong_calls_to_logging():
    for record in (filtered("one %s, two %s", 1), filtered(f"{URL} %s %s", URL)):
        with pytest.raises(TypeError):
            record.getMessage()
        assert_silent(record.msg, record.args)


class Unreadable(Broken):
    __repr__ = Broken.__str__


class Uncopied(dict):
    def __copy__(self) -> Any:
        raise TypeError


def test_redacting_filter_raises_nothing_into_the_application():
    assert filtered("%s", Broken()).getMessage() == "Broken"
    assert filtered(Broken()).args is None
    assert filtered("%d", Unreadable()).msg == "%d"
    record = filtered("said", user=Broken(), more=[Unreadable()], of=Uncopied(a=1))
    assert (record.user, record.more, record.of) == ("Broken", ["Unreadable"], "Uncopied")
    assert filtered("said", sql=Unreadable()).getMessage() == "said"


def test_redacting_filter_leaves_to_others_what_has_not_been_evaluated():
    path_seen, rows = SimpleLazyObject(lambda: Path(URL)), DeliveryEvent.objects.all()
    record = filtered("said", path_seen=path_seen, rows=rows)
    assert record.path_seen is path_seen
    assert record.rows is rows
    assert path_seen._wrapped is empty


def test_redacting_filter_keeps_the_rest():
    args = ("127.0.0.1", "GET", "/orders/5544999999999/?page=1", 200)
    record = filtered('%s - "%s %s" %d', *args, status=200, path="/orders/")
    assert record.getMessage() == '127.0.0.1 - "GET /orders/5544999999999/?page=1" 200'
    assert record.args == args
    assert (record.status, record.path) == (200, "/orders/")
    assert filtered("100% done").getMessage() == "100% done"


class Request(NamedTuple):
    method: str
    path: str


def test_structured_records_keep_their_shape():
    deep: dict[str, Any] = {"path": URL}
    for _ in range(30):
        deep = {"deeper": deep}
    cyclic: list[Any] = [URL]
    cyclic.append(cyclic)
    message = {
        "event": "request",
        "path": URL,
        "nested": [{"url": f"https://example.com{URL}", "n": 1}, (SECRET, 2.5, True, None)],
        "object": Path(URL),
        "other": Path("/orders/"),
        "named": Request("GET", "/orders/"),
        "deep": deep,
        "cyclic": cyclic,
    }
    record = filtered(message, request_path=URL, payload={"path": URL})
    assert message["path"] == URL  # somebody else's
    assert record.msg["event"] == "request"
    assert record.msg["nested"] == [
        {"url": f"https://example.com/plugchat/callback/{MASK}/", "n": 1},
        (MASK, 2.5, True, None),
    ]
    assert record.msg["other"] is message["other"]
    assert record.msg["named"] == Request("GET", "/orders/")
    assert record.request_path == f"/plugchat/callback/{MASK}/"
    assert record.payload == {"path": f"/plugchat/callback/{MASK}/"}
    assert_silent_records([record])


def fail(text: str) -> None:
    raise ValueError(text)


def raised(text: str) -> Exception:
    with pytest.raises(ValueError, match="/") as info:
        fail(text)
    return info.value


@pytest.mark.parametrize("text", [URL, "/orders/"])
def test_tracebacks(text):
    error = raised(text)
    record = filtered("failed", exc_info=(type(error), error, error.__traceback__), stack_info=f"at {text}")
    shown = logging.Formatter().format(record)
    assert "ValueError" in shown
    assert "raise ValueError(text)" in shown
    assert ("/orders/" in shown) is (text != URL)
    assert_silent(shown)
    # Told by nobody: as logging passes it where there is no exception.
    assert filtered("failed", exc_info=(None, None, None)).exc_info == (None, None, None)


@pytest.mark.parametrize(
    "as_it_is_passed", [lambda error: error, lambda error: (type(error), error, error.__traceback__)]
)
def test_tracebacks_in_structured_records(as_it_is_passed):
    record = filtered({"event": "failed", "exc_info": as_it_is_passed(raised(URL))})
    assert "exc_info" not in record.msg
    assert "ValueError" in record.msg["exception"]
    assert_silent_records([record])
    kept = {"event": "failed", "exc_info": as_it_is_passed(raised("/orders/"))}
    assert filtered(kept).msg == kept


def test_tracebacks_of_the_moment_in_structured_records():
    try:
        fail(URL)
    except ValueError:
        record = filtered({"event": "failed", "exc_info": True})
    assert_silent_records([record])
    assert filtered({"event": "failed", "exc_info": True}).msg == {"event": "failed", "exc_info": True}


def test_with_structlog():
    import structlog

    handler, lines = logging.StreamHandler(), []
    handler.addFilter(RedactingFilter())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer()))
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("tests.structlog")
    logger.addHandler(handler)
    try:
        structlog.wrap_logger(
            logger,
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        ).error("request", path=URL, request={"headers": {"authorization": "token-of-norte"}, "number": 1})
    finally:
        logger.removeHandler(handler)
    said = json.loads(lines[0])
    assert said == {
        "event": "request",
        "path": f"/plugchat/callback/{MASK}/",
        "request": {"headers": {"authorization": MASK}, "number": 1},
    }


@pytest.mark.django_db
def test_redacting_filter_on_sql(settings, caplog, post):
    settings.DEBUG = True
    redacting = RedactingFilter()
    caplog.handler.addFilter(redacting)
    caplog.set_level(logging.DEBUG, "django.db.backends")
    connection.force_debug_cursor = True
    try:
        assert post(EXAMPLE).status_code == 200
        with connection.cursor() as cursor:
            cursor.execute("SELECT 12345")
    finally:
        connection.force_debug_cursor = False
        caplog.handler.removeFilter(redacting)
    messages = [record.getMessage() for record in caplog.records if record.name == "django.db.backends"]
    assert f"{MASK} statement on django_plugchat_deliveryevent" in messages
    assert any("SELECT 12345" in message for message in messages)
    assert_silent_records(caplog.records)


# Sentry


def test_what_leaves_for_sentry():
    """With the real SDK, in a process of its own."""
    code = "import json, sys; from tests.sentry_project import main; json.dump(main(), sys.stdout)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    sent = json.loads(done.stdout)
    for text in ("the text of a message", "some-credential", "a-token-of-an-instance", EXAMPLE["zaapId"]):
        assert text not in done.stdout
    assert_silent(*sent)
    errors = [error for event in sent for error in event.get("exception", {}).get("values", [])]
    assert {error["type"] for error in errors} >= {"OperationalError", "ValueError", "Http404"}
    assert all(error["stacktrace"]["frames"][-1]["lineno"] for error in errors if error["type"] != "Http404")
    urls = {event["request"]["url"] for event in sent if event.get("request")}
    assert f"http://testserver/plugchat/callback/{MASK}/" in urls
    assert all(len(event["event_id"]) == 32 for event in sent if "event_id" in event)
    assert [event for event in sent if event.get("type") == "transaction"]


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (
            {"release": "20261125170000", "event_id": "1" * 32, "timestamp": 1.8e9, "extra": {"n": 5544999999999}},
            {"release": "20261125170000", "event_id": "1" * 32, "timestamp": 1.8e9, "extra": {"n": MASK}},
        ),
        (
            # Not an id, whatever it is called.
            {"contexts": {"trace": {"trace_id": "5544999999999", "span_id": "a" * 16}}},
            {"contexts": {"trace": {"trace_id": MASK, "span_id": "a" * 16}}},
        ),
        ({"tags": ["x", 5544999999999]}, {"tags": ["x", MASK]}),
        (
            {"request": {"headers": {"Z-Api-Token": "x", "Cookie": "y", "Accept": "z"}}, "user": None},
            {"request": {"headers": {"Z-Api-Token": MASK, "Cookie": MASK, "Accept": "z"}}, "user": None},
        ),
        (
            {"logger": "django_plugchat.views", "exception": {"values": [{"type": "A", "value": "body"}, None]}},
            {"logger": "django_plugchat.views", "exception": {"values": [{"type": "A", "value": MASK}, None]}},
        ),
        (
            {
                "exception": {
                    "values": [{"value": "b", "stacktrace": {"frames": [{"module": "django_plugchat.x", "vars": {}}]}}]
                },
                "threads": {"values": [{"stacktrace": {"frames": [{"vars": {"body": "b"}}]}}]},
                "stacktrace": None,
            },
            {
                "exception": {"values": [{"value": MASK, "stacktrace": {"frames": [{"module": "django_plugchat.x"}]}}]},
                "threads": {"values": [{"stacktrace": {"frames": [{}]}}]},
                "stacktrace": None,
            },
        ),
        (
            {
                "request": {"url": f"https://example.com{SEARCH}", "query_string": "q=1", "data": "x"},
                "transaction": None,
            },
            {
                "request": {"url": f"https://example.com/admin/django_plugchat/deliveryevent/?{MASK}"},
                "transaction": None,
            },
        ),
    ],
)
def test_before_send(event, sent):
    assert before_send(event, {}) == sent


def test_nothing_shows_a_secret(settings):
    assert_silent(
        repr(app_settings), repr(app_settings.accounts), repr(Configured.from_setting(settings.PLUGCHAT)), vars(texts)
    )
