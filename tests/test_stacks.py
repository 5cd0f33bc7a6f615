"""With what stands around Django in real projects: middleware, adapters, structured logs, poolers, a failover."""

import io
import json
import logging
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import AsyncClient, Client
from django.urls import reverse

from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.redaction import MASK, RedactingFilter

from .payloads import EXAMPLE, SECRET, URL
from .rows import rejected
from .servers import SERVERS, serving, test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

BODY = json.dumps(EXAMPLE).encode()
JSON = {"Content-Type": "application/json"}
SEVERAL = {"type": "MessageStatusCallback", "status": "READ", "ids": ["A", "B", "C"]}


# Middleware


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_middleware_reads_the_body(settings, when):
    settings.MIDDLEWARE = [f"tests.stacks.middleware.read_{when}", *settings.MIDDLEWARE]
    client = Client(enforce_csrf_checks=True)
    for url, body, status in [
        (URL, BODY, 200),
        (URL, b"[", 400),
        (URL, b"[" * 100_000, 413),
        ("/plugchat/callback/wrong/", BODY, 404),
    ]:
        response = client.post(url, body, content_type="application/json")
        assert response.status_code == status
        # After the view, of what is too large its beginning.
        assert 0 < int(response["X-Length-Of-Body"]) <= len(body)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_middleware_reads_the_body_under_asgi(settings, when):
    settings.MIDDLEWARE = [f"tests.stacks.middleware.read_{when}", *settings.MIDDLEWARE]
    response = async_to_sync(AsyncClient().post)(URL, BODY, content_type="application/json")
    assert response.status_code == 200
    assert response["X-Length-Of-Body"] == str(len(BODY))


@pytest.mark.parametrize("url", [URL, "/plugchat/callback/a-wrong-secret-of-nobody/"])
def test_structlog(settings, url):
    import structlog

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer()))
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("requests")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.stacks.middleware.log_by_structlog"]
    try:
        status = Client().post(url, BODY, content_type="application/json").status_code
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        structlog.reset_defaults()
    started, finished = map(json.loads, log.getvalue().splitlines())
    hidden = f"POST /plugchat/callback/{MASK}/"
    assert started == {"event": "request_started", "level": "info", "request": hidden}
    assert finished == {"event": "request_finished", "level": "info", "request": hidden, "code": status}
    assert SECRET not in log.getvalue()
    assert "a-wrong-secret" not in log.getvalue()


@pytest.mark.services
@pytest.mark.parametrize("name", ["deliveryevent_changelist", "rejectedcallback_changelist"])
def test_a_strict_content_security_policy(settings, admin_client, name):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "csp.middleware.CSPMiddleware"]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": {"default-src": ["'self'"], "frame-ancestors": ["'none'"]}}
    rejected()
    admin_client.post(URL, BODY, content_type="application/json")
    response = admin_client.get(reverse(f"admin:django_plugchat_{name}"))
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    page = response.content.decode()
    for blocked in ("<iframe", "<script>", "<style", " style=", " onclick="):
        assert blocked not in page


# Servers between which and the view stands an adapter


@pytest.mark.services
@pytest.mark.parametrize("name", ["hypercorn, WSGI", "hypercorn"])
def test_http_2(tmp_path, name):
    import httpx

    with (
        serving(SERVERS[name], tmp_path / "log", DJANGO_SETTINGS_MODULE="tests.settings_servers") as base,
        httpx.Client(http1=False, http2=True, base_url=base) as client,
    ):
        # Without a declared length, with one, and with neither length nor body.
        answers = [client.post(URL, content=content, headers=JSON) for content in (iter([BODY]), BODY, iter([]))]
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert [answer.status_code for answer in answers] == [200, 200, 411]
    assert DeliveryEvent.objects.get().times_received == 2
    assert not RejectedCallback.objects.exists()


def lambda_event(version: str, headers: dict[str, str], *, encoded: bool = False) -> dict[str, Any]:
    """What API Gateway hands to a function for a callback."""
    body = {"body": b64encode(BODY).decode() if encoded else BODY.decode(), "isBase64Encoded": encoded}
    headers = {"Host": "127.0.0.1", "Content-Type": "application/json"} | headers
    if version == "2.0":
        http = {"method": "POST", "path": URL, "sourceIp": "127.0.0.1"}
        return {"version": "2.0", "rawPath": URL, "headers": headers, "requestContext": {"http": http}} | body
    context = {"identity": {"sourceIp": "127.0.0.1"}}
    return {"resource": "/", "httpMethod": "POST", "path": URL, "headers": headers, "requestContext": context} | body


@pytest.mark.services
def test_aws_lambda():
    headers = [{}, {"Content-Length": str(len(BODY))}]
    events = [
        [interface, lambda_event(version, declared, encoded=encoded)]
        for interface in ("WSGI", "ASGI")
        for version in ("1.0", "2.0")
        for declared in headers
        for encoded in (False, True)
    ]
    run = subprocess.run(
        [sys.executable, "-m", "tests.stacks.lambda_events"],
        input=json.dumps(events),
        env=os.environ | {"DATABASE_URL": test_database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings_servers"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    answers = json.loads(run.stdout.splitlines()[-1])
    assert [answer["statusCode"] for answer in answers] == [200] * len(events)
    assert [json.loads(answer["body"])["status"] for answer in answers] == ["recorded"] + ["duplicate"] * (
        len(events) - 1
    )
    assert not RejectedCallback.objects.exists()


# Connections


@pytest.mark.services
@pytest.mark.parametrize(
    ("name", "environ"),
    [("uvicorn", {}), ("uvicorn", {"POOL": "1"}), ("gunicorn gevent", {"POOL": "1"})],
    ids=["none is kept", "a pool", "a pool under gevent"],
)
def test_connections_of_a_server_without_a_thread_for_each(tmp_path, name, environ):
    def post(number: int) -> int:
        body = json.dumps(EXAMPLE | {"zaapId": str(number)})
        return requests.post(base + URL, body, headers=JSON, timeout=60).status_code

    environ = {"DJANGO_SETTINGS_MODULE": "tests.settings_servers"} | environ
    with serving(SERVERS[name], tmp_path / "log", **environ) as base, ThreadPoolExecutor(16) as clients:
        assert set(clients.map(post, range(160))) == {200}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            (connections,) = cursor.fetchone()
    assert connections <= 4
    assert DeliveryEvent.objects.count() == 160


@contextmanager
def reached_otherwise(**settings: Any) -> Iterator[None]:
    """Let the default connection of this process have other settings."""
    before = connection.settings_dict.copy()
    connection.close()
    connection.settings_dict.update(settings)
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()
        connection.settings_dict.update(before)


@pytest.fixture
def pooler(transactional_db) -> Iterator[int]:
    """The default connection leads through PgBouncer, whose few server connections others use as well."""
    from .poolers import busy, pgbouncer

    options = connection.settings_dict
    with pgbouncer(options["HOST"], options["PORT"], options["USER"], "plugchat_limited") as port:
        url = f"postgres://{options['USER']}@127.0.0.1:{port}/{options['NAME']}"
        with reached_otherwise(HOST="127.0.0.1", PORT=port), busy(url):
            yield port


def receive(post: Any, number: int) -> None:
    """Events and refused callbacks of numbers that differ in their last digits."""
    for last in range(number):
        body = EXAMPLE | {"zaapId": f"Z{last}", "phone": f"55449999999{last:02}"}
        assert post(body).json() == {"status": "recorded"}
        assert post(body | {"type": ""}).status_code == 400


@pytest.mark.services
def test_a_pooler_keeps_nothing_between_statements(pooler):
    with connection.cursor() as cursor:
        cursor.execute("SET plugchat.kept = 'yes'")
        kept = set()
        for _ in range(200):
            cursor.execute("SELECT current_setting('plugchat.kept', true)")
            kept |= set(cursor.fetchone())
    assert kept != {"yes"}


@pytest.mark.services
def test_callbacks_through_a_pooler(post, pooler):
    assert [post(EXAMPLE).json()["status"] for _ in range(5)] == ["recorded"] + ["duplicate"] * 4
    assert post(SEVERAL).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.count() == 4


@pytest.mark.services
def test_the_commands_and_the_admin_through_a_pooler(post, pooler, admin_client, capsys):
    from .receivers import Receiver, connected

    receive(post, 20)
    DeliveryEvent.objects.update(dispatch_status="none", dispatch_due_at=None)
    receiver = Receiver()
    with connected(receiver):
        call_command("plugchat_redispatch", "--include-none", "--since", "2020-01-01", "--inline")
    assert len(receiver.heard) == 20
    capsys.readouterr()
    with pytest.raises(CommandError):  # callbacks were refused
        call_command("plugchat_status", "--json")
    assert json.loads(capsys.readouterr().out)
    for name in ("deliveryevent", "rejectedcallback"):
        url = reverse(f"admin:django_plugchat_{name}_changelist")
        assert admin_client.get(url).status_code == 200
    call_command("plugchat_forget", "5544999999900")
    assert (DeliveryEvent.objects.count(), RejectedCallback.objects.count()) == (19, 19)
    DeliveryEvent.objects.update(received_at="2020-01-01T00:00Z", last_received_at="2020-01-01T00:00Z")
    RejectedCallback.objects.update(received_at="2020-01-01T00:00Z", last_received_at="2020-01-01T00:00Z")
    call_command("plugchat_prune", "--batch-size", "5")
    assert (DeliveryEvent.objects.count(), RejectedCallback.objects.count()) == (0, 0)


@pytest.mark.services
def test_limits_of_the_role_hold_through_a_pooler(pooler):
    with connection.cursor() as cursor, transaction.atomic():
        # As docs/howto/databases.md says.
        cursor.execute("CREATE ROLE plugchat_limited LOGIN")
        cursor.execute("ALTER ROLE plugchat_limited SET lock_timeout = '5s'")
        cursor.execute("ALTER ROLE plugchat_limited SET statement_timeout = '10s'")
    try:
        with reached_otherwise(USER="plugchat_limited"), connection.cursor() as cursor:
            shown = []
            for name in ("lock_timeout", "statement_timeout"):
                cursor.execute(f"SHOW {name}")
                shown += cursor.fetchone()
        assert shown == ["5s", "10s"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE plugchat_limited")


# Failover


@pytest.fixture
def kept_connection() -> Iterator[None]:
    """The connection of this process leads to a server that is now read-only; the next one leads to the new primary."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    connection.close()


@pytest.mark.services
def test_callbacks_on_a_connection_that_is_read_only_now(post, kept_connection):
    assert post(EXAMPLE).json() == {"status": "recorded"}
    assert post(EXAMPLE).json() == {"status": "duplicate"}


@pytest.mark.services
def test_several_events_on_a_connection_that_is_read_only_now(post, kept_connection):
    assert post(SEVERAL).json() == {"status": "recorded"}
    assert DeliveryEvent.objects.count() == 3


@pytest.mark.services
def test_a_repeated_event_on_a_connection_that_is_read_only_now(post, request):
    assert post(EXAMPLE).json() == {"status": "recorded"}
    request.getfixturevalue("kept_connection")
    assert post(EXAMPLE).json() == {"status": "duplicate"}


@pytest.mark.services
def test_a_refused_callback_on_a_connection_that_is_read_only_now(post, kept_connection):
    assert post("[").status_code == 400
    assert RejectedCallback.objects.count() == 1


@pytest.mark.services
def test_a_pool_that_leads_to_a_server_now_read_only(post):
    options = connection.settings_dict["OPTIONS"] | {"pool": {"min_size": 2, "max_size": 2}}
    with reached_otherwise(OPTIONS=options, CONN_MAX_AGE=0):
        pool = connection.pool
        pool.open()
        with pool.connection() as first, pool.connection() as second:
            for pooled in (first, second):
                pooled.execute("SET default_transaction_read_only = on")
                pooled.commit()
        assert [post(EXAMPLE).json()["status"] for _ in range(3)] == ["recorded", "duplicate", "duplicate"]
        assert connection.pool is not pool


@pytest.mark.services
def test_a_pool_with_no_connection_free(post):
    options = connection.settings_dict["OPTIONS"] | {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.2}}
    with reached_otherwise(OPTIONS=options, CONN_MAX_AGE=0):
        connection.pool.open()
        with connection.pool.connection():
            assert post(EXAMPLE).status_code == 503
        assert post(EXAMPLE).json() == {"status": "recorded"}


@pytest.mark.services
def test_a_database_that_stays_read_only(post, monkeypatch):
    """Also for a new connection."""
    with monkeypatch.context() as patched:
        read_only = {"options": "-c default_transaction_read_only=on"}
        patched.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | read_only)
        connection.close()
        response = post(EXAMPLE)
        connection.close()
    assert response.status_code == 503
    assert response["Retry-After"]
    assert post(EXAMPLE).json() == {"status": "recorded"}
