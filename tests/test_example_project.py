import os
import re
import runpy
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured

from django_plugchat.provider.errors import Failure

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "8c1f1b0a6e7d4f3b9a2c5d8e7f60415263748596a7b8c9d0e1f2",
    "DJANGO_ALLOWED_HOSTS": "hooks.loja.com.br, www.loja.com.br",
    "PLUGCHAT_TOKEN": "token-of-production",
    "PLUGCHAT_WEBHOOK_SECRETS": "new-secret-of-production-site,old-secret-of-production-site",
    "PLUGCHAT_PUBLIC_URL": "https://hooks.loja.com.br",
}
SECRET = "webhook-secret-for-development-only"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """That of somebody who sets nothing, on a database of the test's own."""
    for name in list(os.environ):
        if name.startswith(("DJANGO_", "PLUGCHAT_", "DATABASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'site.sqlite3'}?timeout=1")
    monkeypatch.setenv("PLUGCHAT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONUTF8", "1")
    return monkeypatch


@pytest.fixture
def manage(environment):
    def manage(*args, **env):
        return subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=ROOT,
            env=os.environ | env,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return manage


@pytest.fixture
def settings_module(environment):
    def load(**env):
        for name, value in env.items():
            environment.setenv(name, value)
        return runpy.run_path(str(ROOT / "example_project" / "settings.py"))

    return load


def test_its_own_tests_pass(manage):
    run = manage("test", "example_project.shop", "--shuffle")
    assert run.returncode == 0, run.stderr
    assert re.search(r"Ran [1-9][0-9]* tests", run.stderr)


def test_no_migration_is_missing(manage):
    run = manage("makemigrations", "--check")
    assert (run.returncode, run.stdout.strip()) == (0, "No changes detected"), run.stderr


def test_it_is_ready_to_be_deployed(manage):
    run = manage("check", "--deploy", "--database=default", "--fail-level=WARNING", **PRODUCTION)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr


@pytest.mark.parametrize("name", [name for name in PRODUCTION if name != "DJANGO_DEBUG"])
def test_production_has_no_defaults(settings_module, name):
    with pytest.raises(ImproperlyConfigured, match=f"Set {name}:"):
        settings_module(**PRODUCTION | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_SECRET_KEY", "django-insecure-for-development-only"),
        ("PLUGCHAT_WEBHOOK_SECRETS", SECRET),
    ],
)
def test_what_everybody_knows_is_no_secret(settings_module, name, value):
    with pytest.raises(ImproperlyConfigured, match=f"Set {name}:"):
        settings_module(**PRODUCTION | {name: value})


def test_production_settings_come_from_the_environment(settings_module):
    settings = settings_module(**PRODUCTION, DJANGO_BEHIND_PROXY="1", DJANGO_LANGUAGE_CODE="pt-br")
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["hooks.loja.com.br", "www.loja.com.br"]
    account = settings["PLUGCHAT"]["ACCOUNTS"]["default"]
    assert account["WEBHOOK_SECRETS"] == ["new-secret-of-production-site", "old-secret-of-production-site"]
    assert account["TOKEN"] == "token-of-production"
    assert settings["PLUGCHAT"]["PUBLIC_URL"] == "https://hooks.loja.com.br"
    assert settings["LANGUAGE_CODE"] == "pt-br"
    assert settings["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")


def test_a_proxy_is_believed_only_when_there_is_one(settings_module):
    assert "SECURE_PROXY_SSL_HEADER" not in settings_module(**PRODUCTION)


def test_an_unclear_debug_is_off(settings_module):
    with pytest.raises(ImproperlyConfigured):
        settings_module(DJANGO_DEBUG="maybe")


@pytest.mark.parametrize(
    ("url", "engine", "options"),
    [
        ("", "sqlite3", {"transaction_mode": "IMMEDIATE", "timeout": 10}),
        ("sqlite:///other.sqlite3", "sqlite3", {"transaction_mode": "IMMEDIATE", "timeout": 10}),
        ("postgres://u@h/db", "postgresql", {"options": "-c lock_timeout=5000 -c statement_timeout=10000"}),
        ("postgres://u@h/db?connect_timeout=1", "postgresql", {"connect_timeout": 1, "tcp_user_timeout": 10000}),
        (
            "mysql://u@h/db",
            "mysql",
            {"init_command": "SET innodb_lock_wait_timeout=5, lock_wait_timeout=5", "read_timeout": 10},
        ),
    ],
)
def test_no_database_makes_a_callback_wait_for_ever(settings_module, url, engine, options):
    database = settings_module(DATABASE_URL=url)["DATABASES"]["default"]
    assert database["ENGINE"] == f"django.db.backends.{engine}"
    assert {name: database["OPTIONS"][name] for name in options} == options


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_it_runs_under_a_server(environment, interface):
    """Keeping connections under WSGI alone."""
    code = f"""
from django.conf import settings
from example_project.{interface} import application
print(type(application).__name__, settings.DATABASES["default"]["CONN_MAX_AGE"])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
    assert run.stdout == {"wsgi": "WSGIHandler 60\n", "asgi": "ASGIHandler 0\n"}[interface], run.stderr


def test_the_demo_shows_messages_and_orders(manage, tmp_path):
    first, second = (manage("demo", "--once", "--port=0", DJANGO_LOG_SQL="1") for _ in range(2))
    for run, times in ((first, 1), (second, 2)):
        assert run.returncode == 0, run.stderr
        shown = partial(re.findall, string=run.stdout, flags=re.MULTILINE)
        # One message, step by step.
        assert shown(r"^(DeliveryCallback|SENT|RECEIVED|READ) +recorded +(\w+)$") == [
            ("DeliveryCallback", "Sent"),
            ("SENT", "Sent"),
            ("RECEIVED", "Received"),
            ("READ", "Read"),
        ]
        # The provider's example, a group, a repetition.
        assert shown(rf"^\+55 \*{{4}}99 +A20DA9C0… +123 +Sent +- +{times}$")
        assert shown(r"-group +[0-9A-F]{8}… +- +Read +- +1$")
        assert shown(r"^\+55 \*{4}\d\d +[0-9A-F]{8}… +- +Sent +- +2$")
        for reason in Failure.labels:
            assert shown(rf"^\+55 \*{{4}}\d\d +[0-9A-F]{{8}}… .* Not sent +{reason} +1$")
            assert shown(rf"^PED-\w+ .* Not sent +{reason}$")
        told = (("Ana", "Sent"), ("Bruno", "Read"), ("Carla", "Received"), ("João", "Sent"), ("Lucas", "Sent"))
        for customer, whatsapp in told:
            assert shown(rf"^\S+ +{customer} \w+ +{whatsapp} +-$")
        assert shown(r"^PED-\w+ +Karina Luz +Waiting +-$")
        assert shown(r"^answered kept, .* 3 were stored\.$")
        assert shown(r"\d+ recorded, .*\b1 HTTP 400\b")
        assert shown(r"^Admin: +http://127\.0\.0\.1:[0-9]+/admin/\nUser: +admin\nPassword: +admin$")
        output = run.stdout + run.stderr
        assert SECRET not in output
        assert "Traceback" not in output
        # The SQL of the shop's own table shows what it shows.
        ours = "\n".join(line for line in output.splitlines() if '"shop_order"' not in line)
        assert "INSERT" in output
        assert not re.search(r"554499999999|55[1-9]{2}9[0-9]{8}", ours)
    with closing(sqlite3.connect(tmp_path / "site.sqlite3")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        # What there is to look at beside messages.
        waiting = (
            "SELECT dispatch_status, dispatch_error FROM django_plugchat_deliveryevent WHERE dispatch_status <> 'done'"
        )
        assert (
            database.execute(waiting).fetchall()
            == [("retrying", "example_project.demo.call_courier: ConnectionError")] * 2
        )
        refused = "SELECT reason, times_received FROM django_plugchat_rejectedcallback"
        assert database.execute(refused).fetchall() == [("invalid", 2)]
        connected = "SELECT is_connected FROM django_plugchat_connection"
        assert database.execute(connected).fetchall() == [(1,)]
        branch = "SELECT COUNT(*) FROM django_plugchat_deliveryevent WHERE account = 'norte'"
        assert database.execute(branch).fetchone() == (6,)
        accepted = "SELECT COUNT(*) FROM django_plugchat_webhooksecret"
        assert database.execute(accepted).fetchone() == (1,)


@pytest.mark.nightly
def test_the_demo_serves_until_it_is_interrupted(environment):
    environment.setenv("PYTHONUNBUFFERED", "1")
    # Python 3.13 would warn of the database connection of a thread that still waits on the browser's.
    environment.delenv("PYTHONWARNINGS")
    with subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port=0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        shown = "".join(takewhile(lambda line: line != "Ctrl-C stops the server.\n", process.stdout))
        admin = re.search(r"^Admin: +(.+)$", shown, re.M)[1]
        pages = re.findall(r": +(http://.+/)$", shown, re.M)
        with requests.Session() as session:
            session.trust_env = False
            login = session.get(admin.removesuffix("admin/"))
            stylesheet = re.search(r'href="(/static/[^"]+base[^"]*\.css)"', login.text)[1]
            assert session.get(admin.removesuffix("/admin/") + stylesheet).status_code == 200
            entered = session.post(
                login.url,
                data={"username": "admin", "password": "admin", "csrfmiddlewaretoken": session.cookies["csrftoken"]},
            )
            assert (entered.status_code, entered.url) == (200, admin)
            assert len(pages) > 4
            for page in pages:
                assert session.get(page, allow_redirects=False).status_code == 200, page
        # The courier is away twice.
        assert process.stdout.readline() == "A receiver had failed: 1 event was told again, and taken.\n"
        process.send_signal(signal.SIGINT)
        _rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.nightly
def test_the_demo_does_not_take_a_changed_password_back(manage):
    assert manage("migrate", "--verbosity=0").returncode == 0
    create = manage("createsuperuser", "--noinput", "--username=admin", "--email=", DJANGO_SUPERUSER_PASSWORD="another")
    assert create.returncode == 0, create.stderr
    run = manage("demo", "--once", "--port=0")
    assert re.search(r"^Password: +\(the one it was changed to\)$", run.stdout, re.M), run.stderr


def test_a_port_in_use_is_said(manage):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run = manage("demo", "--once", f"--port={port}")
    assert run.returncode == 1
    assert f"Something else uses port {port}. Take another: python manage.py demo --port {port + 1}" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["--port=65536"], {}, "Can't serve on port 65536"),
        ([], PRODUCTION, "with DJANGO_DEBUG on only"),
        ([], {"DATABASE_URL": "sqlite:////nowhere/at/all.sqlite3"}, "The database does not answer (SQLite)"),
    ],
)
def test_what_stops_the_demo_is_one_line(manage, arguments, env, message):
    run = manage("demo", "--once", "--port=0", *arguments, **env)
    assert run.returncode == 1
    assert message in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


def test_the_demo_says_what_its_own_server_refused(manage):
    run = manage("demo", "--once", "--port=0", DJANGO_ALLOWED_HOSTS="example.com")
    assert run.returncode == 1
    assert "HTTP 400: 127.0.0.1" in run.stderr.splitlines()[-1]
    assert SECRET not in run.stderr
