import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections
from django.utils.translation import gettext_lazy

from django_plugchat.checks import check_database, check_setting, check_urls
from django_plugchat.conf import DEFAULTS

SECRET = "a-secret-of-this-test-000"
TOKEN = "a-token-of-this-test"
ACCOUNTS = {"default": {"TOKEN": TOKEN, "WEBHOOK_SECRETS": [SECRET]}}
VALID = {"ACCOUNTS": ACCOUNTS, "PUBLIC_URL": "https://hooks.loja.com.br"}


@pytest.fixture(autouse=True)
def _allowed_hosts(settings):
    settings.ALLOWED_HOSTS = ["hooks.loja.com.br"]


def account(**options: Any) -> dict[str, Any]:
    return {"ACCOUNTS": {"default": {"TOKEN": TOKEN, "WEBHOOK_SECRETS": [SECRET]} | options}}


def secrets(*secrets: Any) -> dict[str, Any]:
    return account(WEBHOOK_SECRETS=[*secrets])


@pytest.fixture
def found(settings):
    """What the checks say to a setting: ids and texts."""

    def found(changes: Any) -> list[tuple[str, str]]:
        settings.PLUGCHAT = VALID | changes if isinstance(changes, dict) else changes
        messages = check_setting()
        for message in messages:
            assert message.hint
            assert "%(" not in f"{message.msg}{message.hint}"
            assert SECRET not in str(message)
            assert TOKEN not in str(message)
            assert "hush" not in str(message)
            assert message.is_serious() == message.id.startswith("django_plugchat.E")
        return [(message.id.removeprefix("django_plugchat."), f"{message.msg} {message.hint}") for message in messages]

    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        DEFAULTS | VALID,
        account(WEBHOOK_SECRETS=(SECRET, "retiring-" + SECRET)),
        account(TOKEN=None, LABEL=None),
        account(LABEL=gettext_lazy("account")),
        secrets(SECRET, "", None),
        secrets(SECRET, SECRET),
        secrets("x" * 24),
        secrets("x" * 200),
        {"ACCOUNTS": {"a" * 100: ACCOUNTS["default"]}},
        {"API_URL": "http://localhost:8000/api"},
        {"PUBLIC_URL": "https://hooks.loja.com.br:8443/app/"},
        {"API_TIMEOUT": 0.5, "DISPATCH_LEASE": 0.5},
        {"MAX_BODY_BYTES": 1, "MAX_REJECTED": 0, "RETENTION_DAYS": None, "DISPATCH_MAX_ATTEMPTS": 32767},
        {"RETENTION_DAYS": 1, "DISPATCH_MAX_ATTEMPTS": 1},
        {
            "DISPATCHER": "django_plugchat.dispatch.deliver",
            "TOKEN_SOURCE": "builtins.str",
            "ADMIN_ACCOUNTS": "builtins.str",
        },
        {"SPOOL_DIR": "/var/lib/loja/plugchat"},
        {"SPOOL_DIR": Path("/var/lib/loja/plugchat"), "SILENT_AFTER_HOURS": 0.5},
        account(PROVIDER="plugchat", API_URL="https://api.loja.com.br/api/whatsapp"),
        account(PROVIDER="z-api", INSTANCE="3B8D1E", CLIENT_TOKEN="F1e4d5", API_URL="http://127.0.0.1:1"),
        {"ACCOUNTS": {}, "TOKEN_SOURCE": "builtins.str"},
        account(PROVIDER=None, INSTANCE=None, CLIENT_TOKEN=None, API_URL=None),
    ],
)
def test_right_settings(found, changes):
    assert found(changes) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (None, "PLUGCHAT "),
        ("hush", "PLUGCHAT "),
        ({"ACCOUNTS": [ACCOUNTS["default"]]}, "['ACCOUNTS']"),
        ({"ACCOUNTS": {"default": None}}, "[number 1]"),
        (account(TOKEN=1), "['TOKEN']"),
        (account(LABEL=1), "['LABEL']"),
        (account(WEBHOOK_SECRETS=SECRET), "['WEBHOOK_SECRETS']"),
        (secrets(SECRET, 1), "['WEBHOOK_SECRETS'][1]"),
        ({"PUBLIC_URL": 1}, "['PUBLIC_URL']"),
        ({"API_URL": None}, "['API_URL']"),
        ({"API_TIMEOUT": "10"}, "['API_TIMEOUT']"),
        ({"MAX_BODY_BYTES": True}, "['MAX_BODY_BYTES']"),
        ({"RETENTION_DAYS": "180"}, "['RETENTION_DAYS']"),
        ({"DISPATCH_LEASE": "300"}, "['DISPATCH_LEASE']"),
        ({"DISPATCH_MAX_ATTEMPTS": "5"}, "['DISPATCH_MAX_ATTEMPTS']"),
        (account(PROVIDER=1), "['PROVIDER']"),
        (account(INSTANCE=1), "['INSTANCE']"),
        (account(CLIENT_TOKEN=1), "['CLIENT_TOKEN']"),
        (account(API_URL=1), "['API_URL']"),
        ({"MAX_REJECTED": 1.5}, "['MAX_REJECTED']"),
        ({"SILENT_AFTER_HOURS": "36"}, "['SILENT_AFTER_HOURS']"),
        ({"SPOOL_DIR": 1}, "['SPOOL_DIR']"),
        ({"TOKEN_SOURCE": print}, "['TOKEN_SOURCE']"),
        ({"DISPATCHER": None}, "['DISPATCHER']"),
    ],
)
def test_wrong_types(found, changes, name):
    [(check_id, text)] = found(changes)
    assert check_id == "E001"
    assert name in text


@pytest.mark.parametrize(
    ("changes", "which", "nearest"),
    [
        ({"ACOUNTS": {}}, "Key number 3 of PLUGCHAT is", "ACCOUNTS"),
        ({"public_url": "https://hooks.loja.com.br"}, "Key number 3 of PLUGCHAT is", "PUBLIC_URL"),
        (account(WEBHOOK_SECRET="hush"), "Key number 3 of PLUGCHAT['ACCOUNTS'][number 1] is", "WEBHOOK_SECRETS"),
        (account(API_TOKEN="hush"), "Key number 3 of PLUGCHAT['ACCOUNTS'][number 1] is", "TOKEN"),
    ],
)
def test_unknown_keys(found, changes, which, nearest):
    [(check_id, text)] = found(changes)
    assert check_id == "E002"
    assert which in text
    assert f"Did you mean {nearest}?" in text


@pytest.mark.parametrize("changes", [{1: 2}, {"": 1}, {"hush hush": 1}, account(hush="hush")])
def test_a_near_key_is_named_only_where_there_is_one(found, changes):
    [(check_id, text)] = found(changes)
    assert check_id == "E002"
    assert "Did you mean" not in text
    assert "Known are" in text


@pytest.mark.parametrize("alias", ["", "a " * 51, 1, None, ("a", "b")])
def test_unusable_account_names(found, alias):
    [(check_id, text)] = found({"ACCOUNTS": {alias: ACCOUNTS["default"]}})
    assert check_id == "E003"
    assert "[number 1]" in text


def test_a_secret_in_the_place_of_a_name_is_not_shown(found):
    accounts = ACCOUNTS | {f"hush{SECRET}": {"TOKEN": 1, "WEBHOOK_SECRETS": ["y" * 24, SECRET], "hush": 1}}
    said = found({"ACCOUNTS": accounts, TOKEN: "hush", "DISPATCHER": SECRET, "TOKEN_SOURCE": f"{TOKEN}.hush"})
    assert sorted(check_id for check_id, _text in said) == ["E001", "E002", "E002", "E007", "E011", "E011"]
    assert "[number 2] has a secret of PLUGCHAT['ACCOUNTS'][number 1]." in " ".join(text for _id, text in said)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("API_TIMEOUT", 0),
        ("API_TIMEOUT", -0.5),
        ("API_TIMEOUT", float("nan")),
        ("API_TIMEOUT", float("inf")),
        ("MAX_BODY_BYTES", 0),
        ("MAX_REJECTED", -1),
        pytest.param("MAX_REJECTED", 10**5000, id="MAX_REJECTED-huge"),
        ("SILENT_AFTER_HOURS", 0),
        ("RETENTION_DAYS", 0),
        ("RETENTION_DAYS", 10**7),
        ("DISPATCH_LEASE", 0),
        ("DISPATCH_LEASE", 1e300),
        ("DISPATCH_MAX_ATTEMPTS", 0),
        ("DISPATCH_MAX_ATTEMPTS", 32768),
    ],
)
def test_numbers_out_of_range(found, key, value):
    [(check_id, text)] = found({key: value})
    assert check_id == "E004"
    assert f"PLUGCHAT['{key}']" in text


@pytest.mark.parametrize("secret", ["hush/" * 8, f"{SECRET}\n", f"{SECRET} ", "hush é", "\ud800", "x" * 201, "a.b"])
def test_secrets_that_do_not_fit_a_url(found, secret):
    [(check_id, text)] = found(secrets(SECRET, secret))
    assert check_id == "E005"
    assert "['WEBHOOK_SECRETS'][1]" in text


@pytest.mark.parametrize("token", ["hush hush", "hush\n", "hushé"])
def test_tokens_that_no_header_can_carry(found, token):
    for key in ("TOKEN", "CLIENT_TOKEN"):
        [(check_id, text)] = found(account(**{key: token}))
        assert check_id == "E006"
        assert f"['{key}']" in text


def test_a_secret_that_is_a_token(found):
    accounts = {
        "norte": {"TOKEN": "hush" * 6, "WEBHOOK_SECRETS": [SECRET]},
        "sul": {"CLIENT_TOKEN": SECRET, "WEBHOOK_SECRETS": ["hush" * 6]},
    }
    assert [check_id for check_id, _ in found({"ACCOUNTS": accounts})] == ["E008", "E008"]


@pytest.mark.parametrize("values", ["hush", 1, {"a": 1}, [[SECRET]], [{}], None])
def test_accounts_are_compared_whatever_else_is_wrong(found, values):
    accounts = {"broken": {"TOKEN": values, "WEBHOOK_SECRETS": values}, "gone": values, **ACCOUNTS}
    assert "E001" in [check_id for check_id, _ in found({"ACCOUNTS": accounts})]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.loja.com.br",
        "http://localhost:8000",
        "https://hooks.loja.com.br/?a=hush",
        f"https://hooks.loja.com.br/{SECRET}/",
        "https://hooks.loja.com.br/plugchat/callback/hush",
    ],
)
def test_unusable_public_urls(found, url):
    [(check_id, text)] = found({"PUBLIC_URL": url})
    assert check_id == "E009"
    assert "PLUGCHAT['PUBLIC_URL']" in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hooks.loja.com.br",
        "http://10.0.0.1",
        "https://a.com/?a=b",
    ],
)
def test_unusable_api_urls(found, url):
    [(check_id, text)] = found({"API_URL": url})
    assert check_id == "E010"
    assert "PLUGCHAT['API_URL']" in text
    [(check_id, text)] = found(account(API_URL=url or "http:"))
    assert check_id == "E010"
    assert "[number 1]['API_URL']" in text


def test_a_token_in_the_path_of_an_api_url(found):
    [(check_id, text)] = found(account(API_URL=f"https://api.z-api.io/instances/3B8D/token/{TOKEN}"))
    assert check_id == "E010"
    assert "holds a secret or a token" in text


@pytest.mark.parametrize("provider", ["zapi", "hush"])
def test_an_unknown_provider(found, provider):
    [(check_id, text)] = found(account(PROVIDER=provider))
    assert check_id == "E012"
    assert "plugchat, z-api" in text


@pytest.mark.parametrize("folder", ["spool", "./spool", Path("spool")])
def test_a_spool_in_a_folder_that_depends_on_the_process(found, folder):
    [(check_id, text)] = found({"SPOOL_DIR": folder})
    assert check_id == "E013"
    assert "SPOOL_DIR" in text


@pytest.mark.parametrize("host", ["example.com", "hooks.example.org:8443", "loja.test"])
def test_a_public_url_that_is_nobodys(found, host):
    [(check_id, text)] = found({"PUBLIC_URL": f"https://{host}"})
    assert check_id == "W008"
    assert "name for examples" in text


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("enqueue", "ImportError"),
        (".enqueue", "ValueError"),
        ("django_plugchat.dispatch.logger", "not callable"),
        ("broken_dispatcher.dispatch", "RuntimeError"),
    ],
)
def test_unusable_dispatchers(found, tmp_path, monkeypatch, path, problem):
    (tmp_path / "broken_dispatcher.py").write_text("raise RuntimeError('hush')")
    monkeypatch.syspath_prepend(tmp_path)
    for key in ("DISPATCHER", "TOKEN_SOURCE", "ADMIN_ACCOUNTS"):
        [(check_id, text)] = found({key: path})
        assert check_id == "E011"
        assert f"PLUGCHAT['{key}']" in text
        assert problem in text


@pytest.mark.parametrize(
    "changes",
    [
        {"ACCOUNTS": {}},
        {"ACCOUNTS": {"default": {}}},
        *(account(WEBHOOK_SECRETS=values) for values in ([], [""], [None], ["", None], (), None, "")),
    ],
)
def test_no_secret(found, changes):
    [(check_id, text)] = found(changes)
    assert check_id == "W001"
    assert "secrets.token_urlsafe(32)" in text


@pytest.mark.parametrize("secret", ["x", "x" * 23])
def test_short_secrets(found, secret):
    [(check_id, text)] = found(secrets(SECRET, secret))
    assert check_id == "W002"
    assert "[1]" in text


@pytest.mark.parametrize("url", ["", None])
def test_no_public_url(found, url):
    [(check_id, _)] = found({"PUBLIC_URL": url})
    assert check_id == "W003"


@pytest.mark.parametrize(
    ("url", "allowed", "debug"),
    [
        ("https://shop.loja.com.br", ["hooks.loja.com.br"], False),
        ("https://hooks.loja.com.br", [], False),
        ("https://hooks.loja.com.br:8443/app", [], True),
    ],
)
def test_a_host_of_public_url_that_django_does_not_allow(found, settings, url, allowed, debug):
    settings.ALLOWED_HOSTS, settings.DEBUG = allowed, debug
    [(check_id, text)] = found({"PUBLIC_URL": url})
    assert check_id == "W005"
    assert "loja.com.br' to ALLOWED_HOSTS" in text


@pytest.mark.parametrize("allowed", [["*"], [".loja.com.br"], ["shop.loja.com.br"]])
def test_a_host_of_public_url_that_django_allows(found, settings, allowed):
    settings.ALLOWED_HOSTS = allowed
    assert found({"PUBLIC_URL": "https://shop.loja.com.br"}) == []


def test_no_setting_gives_warnings_only(settings):
    del settings.PLUGCHAT
    assert [message.id for message in check_setting()] == ["django_plugchat.W001", "django_plugchat.W003"]


def test_every_problem_is_told(found):
    changes = {"API_TIMEOUT": 0, "PUBLIC_URL": "http://hooks.loja.com.br", "TYPO": 1, "ACCOUNTS": {"": 1, "sul": {}}}
    assert [check_id for check_id, _ in found(changes)] == ["E002", "E003", "E001", "W001", "E009", "E004"]


class WithoutPatterns:
    pass


def test_urls_that_are_not_included(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    [message] = check_urls()
    assert message.id == "django_plugchat.W004"
    assert 'include("django_plugchat.urls")' in message.hint


@pytest.mark.parametrize(
    ("public_url", "count"),
    [
        ("https://hooks.loja.com.br", 0),
        ("https://hooks.loja.com.br/shop", 0),
        ("https://hooks.loja.com.br/plugchat", 1),
        ("https://hooks.loja.com.br/shop/plugchat/", 1),
        ("https://[::1", 0),
        (1, 0),
        (None, 0),
    ],
)
def test_a_path_of_public_url_that_the_callback_has_too(plugchat, public_url, count):
    plugchat(PUBLIC_URL=public_url)
    messages = check_urls()
    assert [message.id for message in messages] == ["django_plugchat.W006"] * count
    assert all("/plugchat" in message.msg for message in messages)


@pytest.fixture
def database(monkeypatch):
    """Set keys of the database that callbacks are written to."""

    connection = connections["default"]

    def change(vendor: str = "postgresql", **changes: Any) -> None:
        monkeypatch.setattr(connection, "vendor", vendor)
        monkeypatch.setattr(connection, "settings_dict", connection.settings_dict | {"OPTIONS": {}} | changes)

    return change


def test_a_database_that_does_not_commit(database):
    assert check_database() == []
    database(AUTOCOMMIT=False)
    [message] = check_database()
    assert message.id == "django_plugchat.W009"


@pytest.mark.parametrize(
    ("vendor", "options", "is_found"),
    [
        ("postgresql", {}, True),
        ("mysql", {"charset": "utf8mb4"}, True),
        ("mysql", {"connect_timeout": 2}, False),
        ("sqlite", {}, False),
    ],
)
def test_a_spool_beside_a_database_that_is_waited_for(plugchat, database, vendor, options, is_found):
    database(vendor, OPTIONS=options)
    assert check_database() == []
    plugchat(SPOOL_DIR="/var/lib/loja/plugchat")
    assert [message.id for message in check_database()] == ["django_plugchat.W010"] * is_found


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(
    ("age", "application", "is_found"), [(60, "a.b", 1), (None, "a.b", 1), (0, "a.b", 0), (60, None, 0)]
)
def test_kept_connections_under_asgi_are_looked_at_before_deploying(settings, age, application, is_found):
    settings.DATABASES = {"default": {"CONN_MAX_AGE": age}, "plain": {}}
    settings.ASGI_APPLICATION = application
    assert run_checks(tags=["plugchat"]) == []
    messages = run_checks(tags=["plugchat"], include_deployment_checks=True)
    assert [message.id for message in messages] == ["django_plugchat.W007"] * is_found
    assert all("(default)" in message.msg for message in messages)


@pytest.mark.parametrize("urlconf", ["tests.no_such_module", WithoutPatterns])
def test_a_broken_urlconf_is_for_django_to_report(settings, urlconf):
    settings.ROOT_URLCONF = urlconf
    assert check_urls() == []


def test_no_urlconf(settings):
    del settings.ROOT_URLCONF
    assert check_urls() == []


def test_django_runs_them(plugchat, settings):
    plugchat(DISPATCHER="enqueue", PUBLIC_URL="")
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    ids = [message.id for message in run_checks(tags=["plugchat"])]
    assert sorted(ids) == ["django_plugchat.E011", "django_plugchat.W003", "django_plugchat.W004"]


@pytest.mark.parametrize(
    ("setting", "status", "shown"),
    [
        ("{}", 0, "django_plugchat.W001"),
        ("{'ACCOUNTS': {'default': {'WEBHOOK_SECRETS': ['hush hush']}}}", 1, "django_plugchat.E005"),
    ],
)
def test_from_the_shell(tmp_path, setting, status, shown):
    (tmp_path / "settings_of_this_test.py").write_text(f"from tests.settings import *\nPLUGCHAT = {setting}\n")
    # Django's own checks may connect to the database.
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "settings_of_this_test", "DATABASE_URL": "sqlite://"}
    command = [sys.executable, "-m", "django", "check", "--pythonpath", str(tmp_path)]
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert finished.returncode == status
    assert shown in finished.stderr
    assert "hush" not in finished.stderr
    assert "Traceback" not in finished.stderr
