import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from django_plugchat import accounts
from django_plugchat.client import PlugChatClient
from django_plugchat.conf import app_settings, digest_of, secret_id
from django_plugchat.management.commands import plugchat_set_webhook
from django_plugchat.models import Account, DeliveryEvent, Registration
from django_plugchat.registering import registration
from tests import rows
from tests.databases import raising
from tests.payloads import RETIRING_SECRET, SECRET, SECRET_OF_NORTE
from tests.provider import TAKEN, Authority, Provider, forget_environment, resolve_here, serving

CALLBACK = f"https://hooks.loja.com.br/plugchat/callback/{SECRET}/"
CALLBACK_OF_NORTE = f"https://hooks.loja.com.br/plugchat/callback/{SECRET_OF_NORTE}/"
REFUSED = (200, {}, b'{"value": false}')
TUNNEL = "https://a1b2c3.ngrok.app"
DELIVERY = "update-webhook-delivery"
STATUS = "update-webhook-message-status"
TODAY = ("--api", "update-webhooks")
OTHERS = ("receiveMessage", "whenDisconnecting", "startAttendance", "finishAttendance")

pytestmark = pytest.mark.django_db

refuse = raising(DatabaseError("unknown-secret"))


@pytest.fixture(autouse=True)
def _environment(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    forget_environment(monkeypatch)
    monkeypatch.setattr(PlugChatClient, "pauses", (0, 0.001, 0.001))
    # Nobody is there to answer, unless a test says what is typed.
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.fixture
def serve() -> Iterator[Callable[..., Provider]]:
    with serving() as serve:
        yield serve


@pytest.fixture
def provider(serve, plugchat) -> Provider:
    provider = serve()
    plugchat(API_URL=provider.base_url)
    return provider


def sent(provider: Provider) -> list[tuple[str, str, Any]]:
    return [
        (headers["Authorization"], path.rpartition("/")[2], json.loads(body))
        for _, path, headers, body in provider.requests
    ]


def told_nothing(text: str) -> str:
    for confidential in (*app_settings.confidential, "unknown-secret"):
        assert confidential not in text
    return text


def run(*arguments: str, **options: Any) -> str:
    options = {"stdout": io.StringIO(), "stderr": io.StringIO()} | options
    try:
        call_command("plugchat_set_webhook", *arguments, **options)
    finally:
        told_nothing(options["stderr"].getvalue())
    return options["stdout"].getvalue()


def warnings_of(*arguments: str) -> str:
    stderr = io.StringIO()
    run(*arguments, stderr=stderr)
    return stderr.getvalue()


def failure(*arguments: str, **options: Any) -> str:
    """The one line that the command ends with."""
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    assert caught.value.returncode == 1
    text = told_nothing(str(caught.value))
    assert "\n" not in text
    return text


def noted() -> dict[tuple[str, str], str]:
    return {(row.account, row.webhook): row.secret_id for row in Registration.objects.all()}


@pytest.mark.parametrize(("options", "webhooks"), [([], [DELIVERY]), (["--with-status"], [DELIVERY, STATUS])])
def test_registers_the_callback_of_the_default_account(provider, options, webhooks):
    output = told_nothing(run(*options))
    assert sent(provider) == [("token-of-the-default-account", webhook, {"value": CALLBACK}) for webhook in webhooks]
    assert "Account default: registered https://hooks.loja.com.br/plugchat/callback/****/" in output
    assert ", ".join(webhooks) in output
    assert secret_id(SECRET) in output
    assert noted() == {("default", webhook): secret_id(SECRET) for webhook in webhooks}


def test_a_refused_second_call_leaves_the_first_registered(provider):
    provider.answers = [TAKEN, REFUSED]
    assert "refused the URL" in failure("--with-status")
    assert noted() == {("default", DELIVERY): secret_id(SECRET)}


def test_what_was_registered_last_is_kept(provider):
    long_ago = timezone.now() - timedelta(days=30)
    Registration.objects.create(account="default", webhook=DELIVERY, secret_id="00000000", registered_at=long_ago)
    run()
    row = Registration.objects.get()
    assert row.secret_id == secret_id(SECRET)
    assert row.registered_at > long_ago


def test_what_was_not_proven_is_said(provider):
    assert "--wait" in run()
    assert "--wait" not in run("--dry-run")


@pytest.mark.parametrize("error", [DatabaseError("unknown-secret"), RuntimeError("unknown-secret")])
def test_a_registration_that_can_not_be_noted_is_a_warning(provider, monkeypatch, error):
    monkeypatch.setattr(Registration.objects, "for_writing", raising(error))
    assert type(error).__name__ in warnings_of()
    assert len(provider.requests) == 1


@pytest.mark.parametrize("public_url", ["https://hooks.loja.com.br/", "https://hooks.loja.com.br:8443/app"])
def test_the_callback_is_below_public_url(provider, plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    run()
    assert sent(provider)[0][2] == {"value": f"{public_url.rstrip('/')}/plugchat/callback/{SECRET}/"}


def test_registers_another_account(provider):
    run("--account", "norte")
    assert sent(provider) == [("token-of-norte", DELIVERY, {"value": CALLBACK_OF_NORTE})]


def test_the_only_account_needs_no_name(provider, plugchat):
    plugchat(ACCOUNTS={"sul": {"TOKEN": "token-of-sul", "WEBHOOK_SECRETS": ["secret-of-the-account-sul"]}})
    run()
    assert sent(provider)[0][0] == "token-of-sul"


def test_several_accounts_and_none_is_the_default(provider, settings, plugchat):
    accounts = settings.PLUGCHAT["ACCOUNTS"]
    plugchat(ACCOUNTS={"sul": accounts["default"], "norte": accounts["norte"]})
    assert "sul, norte" in failure()
    assert provider.requests == []


@pytest.mark.parametrize("name", ["leste", "token-of-norte", ""])
def test_an_unknown_account(provider, name):
    assert "default, norte" in failure("--account", name)
    assert provider.requests == []


@pytest.mark.parametrize("arguments", [[], ["--all"], ["--account", "default"]])
def test_no_account(plugchat, arguments):
    plugchat(ACCOUNTS={})
    assert "ACCOUNTS" in failure(*arguments)


def test_a_tunnel_replaces_public_url(provider, plugchat):
    plugchat(PUBLIC_URL="")
    output = told_nothing(run(f"{TUNNEL}/"))
    assert sent(provider)[0][2] == {"value": f"{TUNNEL}/plugchat/callback/{SECRET}/"}
    assert f"{TUNNEL}/plugchat/callback/****/" in output


@pytest.mark.parametrize(
    ("url", "shown", "secret"),
    [
        (f"{TUNNEL}/hook", f"{TUNNEL}/hook", ""),
        (f"{TUNNEL}/hook?key=unknown-secret", f"{TUNNEL}/hook?****", ""),
        (f"{TUNNEL}/plugchat/callback/unknown-secret/", f"{TUNNEL}/plugchat/callback/****/", ""),
        (f"{TUNNEL}/Callback//a/unknown-secret?b=c", f"{TUNNEL}/Callback//****?****", ""),
        (f"{TUNNEL}/to/{RETIRING_SECRET}", f"{TUNNEL}/to/****", RETIRING_SECRET),
        (CALLBACK, "https://hooks.loja.com.br/plugchat/callback/****/", SECRET),
        (CALLBACK_OF_NORTE, "https://hooks.loja.com.br/plugchat/callback/****/", ""),
    ],
)
def test_a_url_with_a_path_is_registered_as_it_is(provider, url, shown, secret):
    output = told_nothing(run(url))
    assert sent(provider) == [("token-of-the-default-account", DELIVERY, {"value": url})]
    assert f"registered {shown} " in output
    assert noted() == {("default", DELIVERY): secret and secret_id(secret)}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"{TUNNEL}?", "query"),
        (f"{TUNNEL}//?unknown-secret", "query"),
        (f"{TUNNEL}/#", "fragment"),
        (f"{CALLBACK}#unknown-secret", "fragment"),
        ("https://user:unknown-secret@hooks.loja.com.br", "password"),
        (f"{TUNNEL}/\n", "spaces"),
        (f"{TUNNEL}/unknown-secret /", "spaces"),
        ("https://açaí.com.br", "ASCII"),
        ("", "must start with https://"),
        ("http://hooks.loja.com.br", "must start with https://"),
        ("https:loja.com.br", "must start with https://"),
        ("https:///plugchat/", "valid host"),
        ("https://hooks.loja.com.br\\@unknown-secret", "valid host"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--all"], ["--show-url"], ["--probe"]])
def test_a_url_that_can_not_be_registered(provider, url, why, option):
    assert why in failure(url, *option)
    assert provider.requests == []


def test_all_accounts(provider):
    output = told_nothing(run("--all"))
    assert [token for token, _, _ in sent(provider)] == ["token-of-the-default-account", "token-of-norte"]
    assert output.index("Account default: registered") < output.index("Account norte: registered")
    assert noted() == {("default", DELIVERY): secret_id(SECRET), ("norte", DELIVERY): secret_id(SECRET_OF_NORTE)}


def test_all_accounts_behind_a_tunnel(provider):
    run(TUNNEL, "--all")
    assert [body["value"] for _, _, body in sent(provider)] == [
        f"{TUNNEL}/plugchat/callback/{SECRET}/",
        f"{TUNNEL}/plugchat/callback/{SECRET_OF_NORTE}/",
    ]


def test_a_failing_account_does_not_stop_the_others(provider):
    provider.answers = [REFUSED, *provider.answers]
    stderr = io.StringIO()
    assert "1 of 2" in failure("--all", stderr=stderr)
    assert len(provider.requests) == 2
    assert "Account default: PlugChat refused the URL" in stderr.getvalue()
    assert noted() == {("norte", DELIVERY): secret_id(SECRET_OF_NORTE)}


def test_all_accounts_fail(provider):
    provider.answers = [REFUSED]
    assert "2 of 2" in failure("--all", "--wait", "60")


def test_all_accounts_can_not_have_the_same_url(provider):
    assert "--all" in failure(f"{TUNNEL}/hook", "--all")
    assert provider.requests == []


def test_all_of_one_account_may_have_any_url(provider, settings, plugchat):
    plugchat(ACCOUNTS={"norte": settings.PLUGCHAT["ACCOUNTS"]["norte"]})
    run(f"{TUNNEL}/hook", "--all")
    assert sent(provider) == [("token-of-norte", DELIVERY, {"value": f"{TUNNEL}/hook"})]


def test_one_account_or_all(provider):
    with pytest.raises(CommandError, match="not allowed with"):
        run("--all", "--account", "norte")


@pytest.mark.parametrize("arguments", [[], ["--all"], [CALLBACK]])
def test_dry_run_sends_nothing(provider, arguments):
    output = told_nothing(run("--dry-run", "--wait", "60", *arguments))
    assert "would register https://" in output
    assert "/plugchat/callback/****/" in output
    assert secret_id(SECRET) in output
    assert f"{DELIVERY} by a PUT to 127.0.0.1:{provider.port}." in output
    assert provider.requests == []
    assert noted() == {}


@pytest.mark.parametrize("arguments", [[], [*TODAY], ["--with-status", "--wait", "60", "--probe"]])
def test_show_url_prints_the_url_alone(provider, plugchat, arguments):
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET]}})
    assert run("--show-url", *arguments) == f"{CALLBACK}\n"
    assert run(TUNNEL, "--show-url", *arguments) == f"{TUNNEL}/plugchat/callback/{SECRET}/\n"
    assert provider.requests == []


def test_show_url_of_all_accounts(provider):
    assert run("--show-url", "--all").splitlines() == [f"default: {CALLBACK}", f"norte: {CALLBACK_OF_NORTE}"]
    assert provider.requests == []


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["--probe"]])
def test_no_token(provider, plugchat, arguments):
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET]}})
    assert "TOKEN" in failure(*arguments)
    assert provider.requests == []


@pytest.mark.parametrize("secrets", [[], [""], [None], None])
@pytest.mark.parametrize("arguments", [[], ["--show-url"], ["--dry-run"], [TUNNEL]])
def test_no_secret(provider, plugchat, secrets, arguments):
    plugchat(ACCOUNTS={"default": {"TOKEN": "token-of-a-test", "WEBHOOK_SECRETS": secrets}})
    assert "secrets.token_urlsafe(32)" in failure(*arguments)
    assert provider.requests == []


@pytest.mark.parametrize("secret", ["unknown-secret/with-a-slash", "unknown-secret é", "unknown-secret" * 20])
@pytest.mark.parametrize("arguments", [[], ["--show-url"]])
def test_an_unusable_secret(provider, plugchat, secret, arguments):
    plugchat(ACCOUNTS={"default": {"TOKEN": "token-of-a-test", "WEBHOOK_SECRETS": [secret]}})
    assert "at most 200 of the characters" in failure(*arguments)
    assert provider.requests == []


@pytest.mark.parametrize("public_url", ["", None])
def test_no_public_url(provider, plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    assert "PUBLIC_URL" in failure()
    assert provider.requests == []


@pytest.mark.parametrize("host", ["localhost", "192.168.0.1", "[::1]", "shop.internal"])
def test_hosts_that_the_provider_can_not_reach(provider, plugchat, host):
    assert "tunnel" in failure(f"https://{host}/hook")
    plugchat(PUBLIC_URL=f"https://{host}:8000")
    assert "tunnel" in failure()
    assert "tunnel" in failure("--show-url")
    assert provider.requests == []


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((401, {}, b""), "TOKEN"),
        (REFUSED, "refused the URL"),
    ],
)
def test_what_the_provider_refuses(provider, answer, hint):
    provider.answers = [answer]
    assert hint in failure()
    assert noted() == {}


def test_urls_that_are_not_included(provider, settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert 'include("django_plugchat.urls")' in failure()
    assert provider.requests == []


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"API_TIMEOUT": "10"}, "API_TIMEOUT"),
        ({"ACCOUNTS": ["default"]}, "ACCOUNTS"),
        ({"API_URL": "http://hooks.loja.com.br"}, "API_URL"),
        ({"ACCOUNTS": {"default": {"TOKEN": "unknown-secret\n", "WEBHOOK_SECRETS": [SECRET]}}}, "line break"),
    ],
)
def test_a_broken_setting(provider, plugchat, changes, hint):
    plugchat(**changes)
    assert hint in failure()
    assert provider.requests == []


def test_the_timeout_is_the_configured_one(provider, plugchat):
    plugchat(API_TIMEOUT=0.2)
    provider.answers = [provider.drip_headers]
    assert "within 0.2 seconds" in failure()


# Today's call


@pytest.mark.parametrize(
    ("options", "keys"),
    [([], []), (["--with-status"], ["messageStatus"]), (["--with-connection"], ["whenDisconnecting"])],
)
def test_todays_call_holds_what_is_ours(provider, options, keys):
    output = told_nothing(run(*TODAY, "--no-input", *options))
    urls = dict.fromkeys(["sendingMessage", "messageDeliveryError", *keys], CALLBACK)
    assert sent(provider) == [("token-of-the-default-account", "update-webhooks", urls)]
    assert ", ".join(urls) in output
    assert noted() == {("default", key): secret_id(SECRET) for key in urls}


def test_todays_call_with_the_urls_of_others(provider):
    output = told_nothing(
        run(
            *TODAY,
            "--no-input",
            "--webhook",
            "receiveMessage=https://chat.loja.com.br/in?key=unknown-secret",
            "--webhook",
            f"messageStatus={CALLBACK}",
        )
    )
    assert [body for _, _, body in sent(provider)] == [
        {
            "sendingMessage": CALLBACK,
            "messageDeliveryError": CALLBACK,
            "receiveMessage": "https://chat.loja.com.br/in?key=unknown-secret",
            "messageStatus": CALLBACK,
        }
    ]
    assert "receiveMessage as given" in output
    assert noted()["default", "receiveMessage"] == ""
    assert noted()["default", "messageStatus"] == secret_id(SECRET)


def test_the_keys_that_are_left_out_are_named(provider):
    warning = warnings_of(*TODAY, "--no-input", "--webhook", "receiveMessage=https://hooks.loja.com.br/in")
    assert "messageStatus, whenDisconnecting, startAttendance, finishAttendance" in warning
    assert "receiveMessage" not in warning
    assert "whenDisconnecting" in warnings_of(*TODAY, "--dry-run")


def test_nothing_is_asked_where_nothing_is_left_out(provider):
    others = [argument for key in OTHERS for argument in ("--webhook", f"{key}=https://hooks.loja.com.br/in")]
    assert warnings_of(*TODAY, "--with-status", *others) == ""
    assert len(provider.requests) == 1


@pytest.mark.parametrize("typed", ["yes\n", " YES\n"])
def test_goes_on_after_a_yes(provider, monkeypatch, typed):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    run(*TODAY, "--all")
    assert len(provider.requests) == 2


@pytest.mark.parametrize("typed", ["no\n", "\n", ""])
def test_does_not_go_on_without_a_yes(provider, monkeypatch, typed):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert "--no-input" in failure(*TODAY)
    assert provider.requests == []
    assert noted() == {}


def test_a_dry_run_of_todays_call_asks_nothing(provider):
    assert "for sendingMessage, messageDeliveryError by a PUT" in run(*TODAY, "--dry-run")
    assert provider.requests == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--webhook", "receiveMessage=https://hooks.loja.com.br"], "--api update-webhooks"),
        ([*TODAY, *(["--webhook", "receiveMessage=https://hooks.loja.com.br"] * 2)], "KEY=URL"),
        ([*TODAY, "--webhook", "receiveMessage"], "https://"),
        ([*TODAY, "--webhook", "receiveMessage=https://10.0.0.1/unknown-secret"], "public"),
        ([*TODAY, "--webhook", "unknown-secret=https://hooks.loja.com.br"], "KEY=URL"),
        ([*TODAY, "--webhook", "https://hooks.loja.com.br/unknown-secret"], "KEY=URL"),
        ([*TODAY, "--webhook", "sendingMessage=https://hooks.loja.com.br"], "KEY=URL"),
        ([*TODAY, "--with-status", "--webhook", "messageStatus=https://hooks.loja.com.br"], "KEY=URL"),
    ],
)
def test_webhooks_that_can_not_be_given(provider, arguments, hint):
    assert hint in failure(*arguments, "--no-input")
    assert provider.requests == []


# --probe


@pytest.fixture
def public_site(serve, plugchat, tmp_path, monkeypatch) -> Provider:
    """What stands at PUBLIC_URL, over TLS."""
    authority = Authority()
    site = serve((200, {}, b'{"status": "ignored"}'), tls=authority.tls("shop.loja.com.br"))
    authority.trust(tmp_path, monkeypatch)
    resolve_here(monkeypatch, "shop.loja.com.br")
    plugchat(PUBLIC_URL=f"https://shop.loja.com.br:{site.port}")
    return site


def test_a_probe_comes_first_and_says_what_it_does_not_prove(provider, public_site):
    output = told_nothing(run("--probe"))
    assert "not proven" in output
    assert output.index("this app answers") < output.index("registered")
    assert [path for _, path, _, _ in public_site.requests] == [f"/plugchat/callback/{SECRET}/"]
    assert len(provider.requests) == 1


def test_nothing_is_registered_where_something_stands_in_the_way(provider, public_site):
    public_site.answers = [(403, {}, b"")]
    assert "HTTP 403" in failure("--probe")
    assert provider.requests == []
    assert noted() == {}


def test_a_dry_run_may_probe(provider, public_site):
    output = told_nothing(run("--probe", "--dry-run"))
    assert "this app answers" in output
    assert len(public_site.requests) == 1
    assert provider.requests == []


def test_each_account_is_probed(provider, public_site):
    public_site.answers = [(404, {}, b'{"detail": "Not found."}'), *public_site.answers]
    stderr = io.StringIO()
    assert "1 of 2" in failure("--probe", "--all", stderr=stderr)
    assert "WEBHOOK_SECRETS" in stderr.getvalue()
    assert noted() == {("norte", DELIVERY): secret_id(SECRET_OF_NORTE)}


# --wait


def on_registering(monkeypatch: pytest.MonkeyPatch, then: Callable[[], Any]) -> None:
    """Have callbacks come as soon as the provider has the URL."""
    finish = registration.Job.finish

    def finish_and_call(job: registration.Job) -> None:
        finish(job)
        then()

    monkeypatch.setattr(registration.Job, "finish", finish_and_call)


def status_event(**fields: Any) -> DeliveryEvent:
    return rows.event(**{"type": "MessageStatusCallback", "outcome": "read"} | fields)


@pytest.mark.parametrize("ahead", [timedelta(minutes=-2), timedelta(minutes=2)])
def test_the_clock_of_the_web_host_does_not_matter(provider, monkeypatch, ahead):
    now = timezone.now() + ahead
    rows.event(received_at=now - timedelta(hours=1), last_received_at=now - timedelta(hours=1))
    on_registering(monkeypatch, lambda: rows.event(received_at=now, last_received_at=now))
    assert "is stored" in run("--wait", "60")


def test_each_registered_webhook_is_waited_for(provider, monkeypatch):
    on_registering(monkeypatch, rows.event)
    stdout = io.StringIO()
    text = failure("--with-status", "--wait", "0.05", stdout=stdout)
    assert "a DeliveryCallback with" in stdout.getvalue()
    assert "no MessageStatusCallback (default)" in text
    assert "DeliveryCallback" not in text
    on_registering(monkeypatch, lambda: (rows.event(), status_event()))
    output = run("--with-status", "--with-connection", "--wait", "60")
    assert "a DeliveryCallback with" in output
    assert "a MessageStatusCallback with" in output


@pytest.mark.parametrize(
    ("body", "of_status"), [(b'{"type": "DeliveryCallback"}', False), (b"x", False), (b'"MessageStatusCallback"', True)]
)
def test_a_refused_callback_proves_that_it_calls(provider, monkeypatch, body, of_status):
    on_registering(monkeypatch, lambda: rows.rejected(body=body))
    stdout = io.StringIO()
    text = failure("--with-status", "--wait", "0.05", stdout=stdout)
    assert "was refused" in stdout.getvalue()
    assert ("no DeliveryCallback" in text) is of_status


@pytest.mark.parametrize("fields", [{"secret_id": secret_id(RETIRING_SECRET)}, {"account": "norte"}])
def test_other_callbacks_prove_nothing(provider, monkeypatch, fields):
    rows.event()
    rows.rejected()
    on_registering(monkeypatch, lambda: (rows.event(**fields), rows.rejected(**fields), status_event()))
    assert "default" in failure("--wait", "0.05")
    assert noted()


def test_rows_that_others_deleted_prove_nothing(provider, monkeypatch):
    rows.event()
    newest = rows.event()
    on_registering(monkeypatch, newest.delete)
    assert "no DeliveryCallback" in failure("--wait", "0.05")


def test_no_callback(provider):
    assert "--probe" in failure("--wait", "0")
    assert len(provider.requests) == 1


def test_the_accounts_without_a_callback_are_named(provider, monkeypatch):
    on_registering(monkeypatch, lambda: DeliveryEvent.objects.exists() or rows.event())
    text = failure("--all", "--wait", "0.05")
    assert "DeliveryCallback (norte)" in text
    assert "default" not in text


def test_what_was_not_registered_is_not_waited_for(provider):
    provider.answers = [REFUSED, TAKEN]
    assert "no DeliveryCallback (norte)." in failure("--all", "--wait", "0.05")


def test_callbacks_may_come_later(provider, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: rows.event())
    assert "is stored" in run("--wait", "60")


@pytest.mark.parametrize("seconds", ["-1", "soon", "inf", "nan"])
def test_seconds_that_are_none(provider, seconds):
    with pytest.raises(CommandError):
        run(f"--wait={seconds}")
    assert provider.requests == []


def test_a_url_without_a_secret_can_not_be_waited_for(provider):
    assert "--wait" in failure(f"{TUNNEL}/hook", "--wait", "60")
    assert provider.requests == []


def test_a_database_that_goes_away_while_waiting(provider, monkeypatch):
    on_registering(monkeypatch, lambda: monkeypatch.setattr(DeliveryEvent.objects, "for_writing", refuse))
    assert "DatabaseError" in failure("--wait", "60")


def test_a_database_that_is_away_before(provider, monkeypatch):
    monkeypatch.setattr(DeliveryEvent.objects, "for_writing", refuse)
    assert "DatabaseError" in failure("--wait", "60")
    assert provider.requests == []


# Several accounts


@pytest.fixture
def many(plugchat) -> list[str]:
    """The aliases of some accounts."""
    aliases = [f"loja-{number}" for number in range(9)]
    plugchat(
        ACCOUNTS={
            alias: {"TOKEN": f"token-of-{alias}", "WEBHOOK_SECRETS": [f"a-secret-of-the-account-{alias}"]}
            for alias in aliases
        }
    )
    return aliases


def asked_for(provider: Provider) -> list[str]:
    return sorted(token.removeprefix("token-of-") for token, _, _ in sent(provider))


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_a_run_that_broke_off_goes_on(provider, many, concurrency):
    provider.answers = [TAKEN, TAKEN, REFUSED, TAKEN, (401, {}, b""), TAKEN]
    arguments = ["--all", "--only-missing", "--concurrency", concurrency]
    assert "2 of 9" in failure(*arguments)
    assert asked_for(provider) == many
    provider.requests.clear()
    run(*arguments)
    assert len(provider.requests) == 2
    provider.requests.clear()
    assert "No account" in run(*arguments)
    assert provider.requests == []


def test_another_secret_or_another_webhook_is_missing(provider, many, settings, plugchat):
    run("--all")
    provider.requests.clear()
    run("--all", "--only-missing", "--with-status")
    assert asked_for(provider) == sorted(many * 2)
    provider.requests.clear()
    accounts_of_settings = settings.PLUGCHAT["ACCOUNTS"]
    rotated = {"loja-3": {"TOKEN": "token-of-loja-3", "WEBHOOK_SECRETS": ["a-new-secret-of-the-account-3"]}}
    plugchat(ACCOUNTS=accounts_of_settings | rotated)
    run("--all", "--only-missing")
    assert asked_for(provider) == ["loja-3"]


def interrupted(*arguments: str, **options: Any) -> None:
    with pytest.raises(CommandError, match="--only-missing") as caught:
        run(*arguments, **options)
    assert caught.value.returncode == 130


def test_what_is_under_way_when_it_is_interrupted_is_noted_and_told(provider, many):
    def interrupt(request: Any) -> None:
        all_are_asked.wait(5)
        if request.headers["Authorization"].endswith("loja-1"):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    all_are_asked = threading.Barrier(3)
    provider.answers, stdout = [interrupt], io.StringIO()
    interrupted("--all", "--concurrency", "3", stdout=stdout)
    assert len(noted()) == len(provider.requests) == stdout.getvalue().count("registered") == 3


def test_what_is_not_told_any_more_is_noted(provider, many):
    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    interrupted("--all", "--concurrency", "3", stdout=Interrupted())
    assert len(noted()) == len(provider.requests) == 3


@pytest.mark.parametrize("number", ["0", "-1", "1000", "many"])
def test_numbers_of_accounts_at_once_that_are_none(provider, number):
    with pytest.raises(CommandError, match="--concurrency"):
        run("--all", f"--concurrency={number}")


def test_registrations_that_can_not_be_read(provider, monkeypatch):
    monkeypatch.setattr(Registration.objects, "for_writing", refuse)
    assert "DatabaseError" in failure("--all", "--only-missing")
    assert provider.requests == []


def test_accounts_that_can_not_be_read(provider, monkeypatch):
    monkeypatch.setattr(Account.objects, "for_writing", refuse)
    assert "DatabaseError" in failure("--all")
    run("--account", "norte")
    assert len(provider.requests) == 1


# Accounts of the database


def token_of(alias: str) -> Any:
    return f"token-of-{alias}"


def no_token(alias: str) -> Any:
    return None


@pytest.fixture
def filial(provider, plugchat) -> Account:
    """The only account, whose token the project knows."""
    plugchat(ACCOUNTS={}, TOKEN_SOURCE="tests.test_set_webhook.token_of")
    return accounts.add("filial")


def test_an_account_of_the_database_gets_a_new_secret(provider, filial, monkeypatch):
    on_registering(monkeypatch, lambda: rows.event(account="filial", secret_id=filial.secrets.get().secret_id))
    output = run("--wait", "60")
    [(token, _path, body)] = sent(provider)
    secret = body["value"].split("/")[-2]
    assert token == "token-of-filial"
    assert accounts.caller(digest_of(secret)) == "filial"
    assert secret not in output
    assert noted() == {("filial", DELIVERY): secret_id(secret)}
    assert "No account" in run("--all", "--only-missing")


@pytest.mark.parametrize(("answer", "kept"), [(REFUSED, 0), ((401, {}, b""), 0), ((503, {}, b""), 1)])
def test_a_definite_no_retires_the_new_secret(provider, filial, answer, kept):
    provider.answers = [answer]
    assert ("was kept" if kept else "was retired again") in failure()
    assert filial.secrets.count() == kept
    assert noted() == {}


def test_a_secret_that_one_webhook_has_is_kept(provider, filial):
    provider.answers = [TAKEN, REFUSED]
    failure("--with-status")
    assert noted() == {("filial", DELIVERY): filial.secrets.get().secret_id}


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--dry-run", "--probe"], ["--probe"]])
def test_no_secret_is_made_before_it_is_needed(provider, filial, public_site, arguments):
    public_site.answers = [(404, {}, b'{"detail": "Not found."}')]
    run(*arguments)
    assert filial.secrets.count() == ("--dry-run" not in arguments)
    public_site.answers = [(404, {}, b"")]
    if "--probe" in arguments:
        failure(*arguments)
        assert filial.secrets.count() == ("--dry-run" not in arguments)


def interrupting(alias: str) -> Any:
    if alias == "interrupting":
        raise KeyboardInterrupt
    return "token-of-filial"


def test_a_secret_that_nobody_was_told_of_is_retired(provider, filial, plugchat):
    plugchat(TOKEN_SOURCE="tests.test_set_webhook.interrupting")
    accounts.add("interrupting")
    interrupted("--all", "--concurrency", "2")
    assert provider.requests == []
    assert not filial.secrets.exists()


def test_the_url_of_a_new_secret_for_pasting(provider, filial):
    stderr = io.StringIO()
    url = run("--show-url", stderr=stderr)
    assert accounts.caller(digest_of(url.split("/")[-2])) == "filial"
    assert "not shown again" in stderr.getvalue()
    assert provider.requests == []


def test_a_whole_url_with_a_secret_of_the_account(provider, filial):
    secret = accounts.new_secret("filial")
    run(f"{TUNNEL}/plugchat/callback/{secret}/")
    assert noted() == {("filial", DELIVERY): secret_id(secret)}
    assert filial.secrets.count() == 1


@pytest.mark.parametrize(
    ("provider_name", "typed"), [("plugchat", ["unknown-secret"]), ("z-api", ["unknown-secret", "unknown-secret-2"])]
)
def test_a_token_is_asked_for_without_echo(provider, plugchat, monkeypatch, provider_name, typed):
    plugchat(ACCOUNTS={}, TOKEN_SOURCE="tests.test_set_webhook.no_token")
    accounts.add("filial", provider=provider_name, instance="ABC")
    asked = iter(typed)
    monkeypatch.setattr(plugchat_set_webhook, "getpass", lambda question: next(asked))
    run("--dry-run")
    assert list(asked) == []


def test_nobody_to_ask_for_a_token(provider, plugchat, monkeypatch):
    plugchat(ACCOUNTS={})
    accounts.add("filial")
    assert "TOKEN" in failure("--no-input")

    def ask(question: str) -> str:
        raise EOFError

    monkeypatch.setattr(plugchat_set_webhook, "getpass", ask)
    assert "TOKEN" in failure()
    assert provider.requests == []


# Z-API

INSTANCE = "3B8D1E0F5A724C96A1D0E7F2B4C6985A"
ENGINE = {"PROVIDER": "z-api", "INSTANCE": INSTANCE, "TOKEN": "token-of-norte", "CLIENT_TOKEN": "client-token-of-norte"}
CONNECTION = ("update-webhook-connected", "update-webhook-disconnected")


@pytest.fixture
def engine(serve, plugchat) -> Provider:
    engine = serve()
    base_url = engine.base_url.removesuffix("/api/whatsapp")
    account = ENGINE | {"API_URL": base_url, "WEBHOOK_SECRETS": [SECRET_OF_NORTE]}
    plugchat(ACCOUNTS={"norte": account})
    return engine


def me(**said: Any) -> tuple[int, dict[str, str], bytes]:
    urls = ("deliveryCallbackUrl", "messageStatusCallbackUrl", "connectedCallbackUrl", "disconnectedCallbackUrl")
    return 200, {}, json.dumps(dict.fromkeys(urls, CALLBACK_OF_NORTE) | {"token": "unknown-secret"} | said).encode()


def test_the_engines_calls(engine):
    engine.answers = [TAKEN, TAKEN, TAKEN, TAKEN, me(callbackTypeFilters=["FILTER_PRESENCE_CHAT_CALLBACK"])]
    output = told_nothing(run("--with-status", "--with-connection"))
    base = f"/instances/{INSTANCE}/token/token-of-norte"
    assert [(method, path) for method, path, _, _ in engine.requests] == [
        *(("PUT", f"{base}/{webhook}") for webhook in (DELIVERY, STATUS, *CONNECTION)),
        ("GET", f"{base}/me"),
    ]
    assert {body for _, _, _, body in engine.requests[:-1]} == {json.dumps({"value": CALLBACK_OF_NORTE}).encode()}
    assert noted() == {("norte", hook): secret_id(SECRET_OF_NORTE) for hook in (DELIVERY, STATUS, *CONNECTION)}
    assert "update-webhook-disconnected" in output


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"deliveryCallbackUrl": "https://unknown-secret.com.br"}, f"another URL for {DELIVERY}"),
        ({"messageStatusCallbackUrl": None}, f"another URL for {STATUS}"),
        ({"callbackTypeFilters": ["FILTER_MESSAGE_STATUS_CALLBACK"]}, "FILTER_MESSAGE_STATUS_CALLBACK"),
    ],
)
def test_what_the_engine_says_of_itself_is_compared(engine, said, problem):
    engine.answers = [TAKEN, TAKEN, me(**said)]
    assert problem in failure("--with-status")
    assert len(noted()) == 2


def test_what_can_not_be_compared_is_a_warning(engine):
    engine.answers = [TAKEN, (404, {}, b"unknown-secret")]
    assert "could not be compared" in warnings_of()
    assert len(noted()) == 1


def test_what_the_engine_does_not_say_is_a_warning(engine):
    engine.answers = [TAKEN, (200, {}, b'{"token": "unknown-secret"}')]
    assert f"which URL it has for {DELIVERY}" in warnings_of()


def test_nothing_is_compared_that_was_refused(engine):
    engine.answers = [(400, {}, b'{"error": "your client-token is not configured"}')]
    assert "CLIENT_TOKEN" in failure()
    assert len(engine.requests) == 1


def test_the_engine_has_no_call_of_today(engine):
    assert "Z-API" in failure(*TODAY, "--no-input")
    assert engine.requests == []


def test_an_account_of_the_engine_without_an_instance(engine, settings, plugchat):
    plugchat(ACCOUNTS={"norte": settings.PLUGCHAT["ACCOUNTS"]["norte"] | {"INSTANCE": ""}})
    assert "instance" in failure()


def test_a_dry_run_shows_where_the_engine_is_without_the_token_in_the_path(plugchat):
    plugchat(ACCOUNTS={"norte": ENGINE | {"WEBHOOK_SECRETS": [SECRET_OF_NORTE]}})
    output = told_nothing(run("--dry-run"))
    assert "api.z-api.io" in output
    assert "token-of-norte" not in output


# In the shell


def test_a_failure_in_the_shell_is_one_line(tmp_path):
    (tmp_path / "settings_of_this_test.py").write_text(
        "from tests.settings import *\nPLUGCHAT |= {'PUBLIC_URL': 'http://hooks.loja.com.br', 'API_TIMEOUT': 0}\n"
    )
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "settings_of_this_test"}
    command = [sys.executable, "-m", "django", "plugchat_set_webhook", "--pythonpath", str(tmp_path)]
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stdout == ""
    [told] = finished.stderr.splitlines()
    assert told.startswith("CommandError: PLUGCHAT['PUBLIC_URL']")
