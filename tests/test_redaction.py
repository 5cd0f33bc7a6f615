"""No secret, token, payload or whole number in the records of the app and of Django's request logger."""

from __future__ import annotations

import json
import logging
from typing import Any

import django
import pytest
from django.core import mail
from django.core.exceptions import SuspiciousFileOperation, SuspiciousOperation, TooManyFieldsSent
from django.db import OperationalError, connection
from django.test import Client, RequestFactory

from django_plugchat.log import RedactingFilter

from .conftest import EXAMPLE, SECRET, URL
from .hostile import SuspectingMiddleware
from .test_storing import Interrupt, raising

CONFIDENTIAL = [
    SECRET,
    "retiring-secret-of-the-default-account",
    "secret-of-the-account-norte",
    "token-of-the-default-account",
    "token-of-norte",
    EXAMPLE["phone"],
    "some-wrong-secret",
]


def assert_silent(records: list[logging.LogRecord]) -> None:
    for record in records:
        shown = f"{record.getMessage()} {record.__dict__}"
        assert not [text for text in CONFIDENTIAL if text in shown]


@pytest.mark.django_db
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("status", "request_options"),
    [
        (404, {"path": "/plugchat/callback/some-wrong-secret/"}),
        (404, {"path": "/plugchat/callback/some-wrong-secret/%0a/x"}),
        (404, {"path": f"/plugchat/callback/{SECRET}%C3%A9/"}),
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
    client = Client(raise_request_exception=False)
    fault = Interrupt("INSERT", raising(OperationalError(json.dumps(EXAMPLE))), times=1 if status == 503 else 0)
    with connection.execute_wrapper(fault):
        response = client.generic(**options | request_options)
    assert response.status_code == status
    assert_silent(caplog.records)
    if status >= 400:
        (record,) = [record for record in caplog.records if record.name == "django.request"]
        assert record.getMessage().endswith(": /plugchat/callback/[redacted]")


@pytest.mark.django_db
def test_requests_elsewhere_are_logged_as_ever(client, caplog):
    client.get("/callback/not-ours/")
    (record,) = caplog.records
    assert record.getMessage() == "Not Found: /callback/not-ours/"
    assert record.request.path == "/callback/not-ours/"


def test_urls_that_can_not_be_resolved(caplog):
    """The record is about that: the filter must not raise it again."""
    request = RequestFactory().get("/anything/")
    request.urlconf = "nowhere.at.all"
    logging.getLogger("django.request").error("Internal Server Error: %s", request.path, extra={"request": request})
    assert [record.getMessage() for record in caplog.records] == ["Internal Server Error: /anything/"]


@pytest.mark.django_db
def test_what_middleware_answers(client, caplog):
    assert client.post(URL, headers={"host": "not.allowed.example"}).status_code == 400
    assert_silent(caplog.records)
    assert not [record for record in caplog.records if hasattr(record, "request")]


@pytest.mark.parametrize("kind", [SuspiciousOperation, SuspiciousFileOperation, TooManyFieldsSent])
def test_what_middleware_suspects(client, settings, monkeypatch, caplog, kind):
    monkeypatch.setattr(SuspectingMiddleware, "kind", kind)
    settings.MIDDLEWARE = ["tests.hostile.SuspectingMiddleware"]
    assert client.post(URL).status_code == 400
    assert f"django.security.{kind.__name__}" in [record.name for record in caplog.records]
    assert_silent(caplog.records)
    assert not [record for record in caplog.records if hasattr(record, "request")]


@pytest.mark.django_db
def test_mails_to_admins(settings, post):
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6,) else [("Admin", "admin@example.com")]
    with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()))):
        assert post(EXAMPLE).status_code == 503
    assert [message.subject for message in mail.outbox if "/plugchat/callback/[redacted]" in message.subject]
    for message in mail.outbox:
        assert SECRET not in message.subject + message.body
        assert EXAMPLE["phone"] not in message.subject + message.body


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

    def __str__(self) -> str:
        return self.path


@pytest.mark.parametrize(
    ("msg", "args"),
    [
        (f'127.0.0.1 "POST {URL} HTTP/1.1" 200', ()),
        ('%s - "%s %s HTTP/%s" %d', ("127.0.0.1", "POST", URL, "1.1", 200)),
        ('"%s" %s %s', (f"POST {URL} HTTP/1.1", "200", "21")),
        ("%(r)s %(s)s", ({"r": f"POST {URL} HTTP/1.1", "s": 200},)),
        ("%s", ("POST /plugchat/callback/%66irst-secret-of-the-default-account/ HTTP/1.1",)),
        ("%s", ("/PLUGCHAT/CALLBACK//some-wrong-secret?x=1",)),
        ("next=%s", ("%2Fplugchat%2Fcallback%2Fsome-wrong-secret%2F",)),
        ("Authorization: %s", ("token-of-norte",)),
        ("%s", (Path(URL),)),
        (Path(URL), ()),
        (f"GET /admin/django_plugchat/deliveryevent/?q={EXAMPLE['phone']}&o=1 HTTP/1.1", ()),
        ("%s", (f"GET /admin/django_plugchat/deliveryevent/?q={EXAMPLE['phone']} HTTP/1.1",)),
    ],
)
def test_redacting_filter(msg, args):
    record = filtered(msg, *args)
    assert "[redacted]" in record.getMessage()
    assert_silent([record])
    assert "irst-secret" not in record.getMessage()


@pytest.mark.parametrize(
    ("msg", "args", "shown"),
    [
        ("answering /plugchat/callback/%s/ with %d", ("abc", 200), "answering /plugchat/callback/[redacted]/ with 200"),
        (
            "/admin/django_plugchat/deliveryevent/?q=%s",
            (EXAMPLE["phone"],),
            "/admin/django_plugchat/deliveryevent/?[redacted]",
        ),
    ],
)
def test_redacting_filter_where_the_arguments_hold_it(msg, args, shown):
    assert filtered(msg, *args).getMessage() == shown


def test_redacting_filter_leaves_wrong_calls_to_logging():
    record = filtered("one %s, two %s", 1)
    with pytest.raises(TypeError):
        record.getMessage()
    assert filtered(f"{URL} %s %s", URL).getMessage().startswith("/plugchat/callback/[redacted]/ %s %s")


def test_redacting_filter_keeps_the_rest():
    record = filtered('%s - "%s %s" %d', "127.0.0.1", "GET", "/orders/5544999999999/?page=1", 200)
    assert record.getMessage() == '127.0.0.1 - "GET /orders/5544999999999/?page=1" 200'
    assert record.args == ("127.0.0.1", "GET", "/orders/5544999999999/?page=1", 200)
    assert filtered("100% done").getMessage() == "100% done"


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
    assert "[redacted] statement on django_plugchat_deliveryevent" in messages
    assert any("SELECT 12345" in message for message in messages)
    assert_silent(caplog.records)


def test_records_without_a_django_request(caplog):
    logging.getLogger("django.request").warning("Said by %s", "something else", extra={"request": object()})
    logging.getLogger("django.request").warning(
        "Said by %s: %d", "Django", 1, extra={"request": RequestFactory().get(URL)}
    )
    assert [record.getMessage() for record in caplog.records] == ["Said by something else", "Said by Django: 1"]
