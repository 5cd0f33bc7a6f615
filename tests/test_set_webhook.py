from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.urls import include, path
from django.views import defaults

from django_plugchat.addresses import UnusableURLError, callback_url, ensure_reachable, mask_url
from django_plugchat.client import PlugChatClient
from django_plugchat.conf import Account, app_settings
from tests.provider import Provider, serving

SECRET = "first-secret-of-the-default-account"
RETIRING = "retiring-secret-of-the-default-account"
CALLBACK = f"https://example.com/plugchat/callback/{SECRET}/"
REFUSED = (200, {}, b'{"value": false}')
TUNNEL = "https://a1b2c3.ngrok.app"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Provider]]:
    monkeypatch.setattr(PlugChatClient, "backoff", 0.001)
    with serving() as serve:
        yield serve


@pytest.fixture
def provider(serve, plugchat) -> Provider:
    provider = serve()
    plugchat(API_URL=provider.base_url)
    return provider


def sent(provider: Provider) -> list[tuple[str, str]]:
    return [(headers["Authorization"], json.loads(body)["value"]) for _, _, headers, body in provider.requests]


def told_nothing(text: str) -> str:
    for confidential in (*app_settings.confidential(), "unknown-secret"):
        assert confidential not in text
    return text


def run(*arguments: str, stderr: io.StringIO | None = None, **options: Any) -> str:
    stdout = io.StringIO()
    call_command("plugchat_set_webhook", *arguments, stdout=stdout, stderr=stderr, **options)
    return stdout.getvalue()


def failure(*arguments: str, **options: Any) -> str:
    """The one line that the command ends with."""
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    assert caught.value.returncode == 1
    text = told_nothing(str(caught.value))
    assert "\n" not in text
    return text


def test_registers_the_callback_of_the_default_account(provider):
    output = told_nothing(run())
    assert sent(provider) == [("token-of-the-default-account", CALLBACK)]
    assert "Account default" in output
    assert "https://example.com/plugchat/callback/****/" in output


@pytest.mark.parametrize("public_url", ["https://example.com/", "https://example.com:8443/app", "https://example.com"])
def test_the_callback_is_below_public_url(provider, plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    run()
    assert sent(provider)[0][1] == f"{public_url.rstrip('/')}/plugchat/callback/{SECRET}/"


def test_registers_another_account(provider):
    run("--account", "norte")
    assert sent(provider) == [("token-of-norte", "https://example.com/plugchat/callback/secret-of-the-account-norte/")]


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
    assert sent(provider)[0][1] == f"{TUNNEL}/plugchat/callback/{SECRET}/"
    assert f"{TUNNEL}/plugchat/callback/****/" in output


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"{TUNNEL}/hook", f"{TUNNEL}/hook"),
        (f"{TUNNEL}/?key=unknown-secret", f"{TUNNEL}/?****"),
        (f"{TUNNEL}/plugchat/callback/unknown-secret/", f"{TUNNEL}/plugchat/callback/****/"),
        (f"{TUNNEL}/plugchat/callback/unknown-secret", f"{TUNNEL}/plugchat/callback/****"),
        (f"{TUNNEL}/Callback//a/unknown-secret?b=c", f"{TUNNEL}/Callback//****?****"),
        (f"{TUNNEL}/to/{RETIRING}", f"{TUNNEL}/to/****"),
        (f"{TUNNEL}/plugchat/%63allback/unknown-secret", f"{TUNNEL}/****"),
        (f"{TUNNEL}?key=%63", f"{TUNNEL}/****"),
    ],
)
def test_a_url_with_a_path_is_registered_as_it_is(provider, url, shown):
    output = told_nothing(run(url))
    assert sent(provider) == [("token-of-the-default-account", url)]
    assert f"registered {shown}." in output


def test_a_secret_that_starts_like_another_is_masked_whole(plugchat):
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": ["abc", "abc-def"]}})
    assert mask_url("https://example.com/abc-def") == "https://example.com/****"


def test_all_accounts(provider):
    output = told_nothing(run("--all"))
    assert [token for token, _ in sent(provider)] == ["token-of-the-default-account", "token-of-norte"]
    assert output.index("Account default: registered") < output.index("Account norte: registered")


def test_all_accounts_behind_a_tunnel(provider):
    run(TUNNEL, "--all")
    assert [url for _, url in sent(provider)] == [
        f"{TUNNEL}/plugchat/callback/{SECRET}/",
        f"{TUNNEL}/plugchat/callback/secret-of-the-account-norte/",
    ]


def test_a_failing_account_does_not_stop_the_others(provider, serve):
    provider.answers = [REFUSED, *provider.answers]
    stderr = io.StringIO()
    assert failure("--all", stderr=stderr) == "1 of 2 accounts failed."
    assert len(provider.requests) == 2
    assert "Account default: PlugChat refused the URL" in told_nothing(stderr.getvalue())


def test_all_accounts_can_not_have_the_same_url(provider):
    assert "--all" in failure(f"{TUNNEL}/hook", "--all")
    assert provider.requests == []


def test_all_of_one_account_may_have_any_url(provider, settings, plugchat):
    plugchat(ACCOUNTS={"norte": settings.PLUGCHAT["ACCOUNTS"]["norte"]})
    run(f"{TUNNEL}/hook", "--all")
    assert sent(provider) == [("token-of-norte", f"{TUNNEL}/hook")]


def test_one_account_or_all(provider):
    with pytest.raises(CommandError, match="not allowed with"):
        run("--all", "--account", "norte")


@pytest.mark.parametrize("arguments", [[], ["--all"], [f"{TUNNEL}/plugchat/callback/{SECRET}/"]])
def test_dry_run_sends_nothing(provider, arguments):
    output = told_nothing(run("--dry-run", *arguments))
    assert "would register https://" in output
    assert "/plugchat/callback/****/" in output
    assert f"{provider.base_url}/update-webhook-delivery" in output
    assert provider.requests == []


def test_show_url_prints_the_url_alone(provider, settings, plugchat):
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET]}})
    assert run("--show-url") == f"{CALLBACK}\n"
    assert run(TUNNEL, "--show-url") == f"{TUNNEL}/plugchat/callback/{SECRET}/\n"
    assert provider.requests == []


def test_show_url_of_all_accounts(provider):
    assert run("--show-url", "--all").splitlines() == [
        f"default: {CALLBACK}",
        "norte: https://example.com/plugchat/callback/secret-of-the-account-norte/",
    ]
    assert provider.requests == []


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
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


def test_an_unusable_secret_makes_no_url():
    account = Account(alias="default", token="", webhook_secrets=("unknown-secret/",), label="")
    with pytest.raises(UnusableURLError, match="200 of the characters") as caught:
        callback_url(account)
    assert "unknown-secret" not in str(caught.value)


@pytest.mark.parametrize("public_url", ["", None])
def test_no_public_url(provider, plugchat, public_url):
    plugchat(PUBLIC_URL=public_url)
    assert "PUBLIC_URL" in failure()
    assert provider.requests == []


def test_an_empty_argument_is_not_public_url(provider):
    assert "must start with https://" in failure("")
    assert provider.requests == []


@pytest.mark.parametrize("url", ["http://example.com", "http://example.com/hook", "a1b2c3.ngrok.app", "ftp://a.com"])
def test_only_https(provider, plugchat, url):
    assert "must start with https://" in failure(url)
    plugchat(PUBLIC_URL=url)
    assert "must start with https://" in failure()
    assert provider.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "shop.localhost",
        "printer.local",
        "printer.local.",
        "shop.internal",
        "web",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7F000001",
        "0177.0.0.1",
        "0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2001::1]",
        "[2002:7f00:1::]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_hosts_that_the_provider_can_not_reach(provider, plugchat, host):
    assert "tunnel" in failure(f"https://{host}/hook")
    plugchat(PUBLIC_URL=f"https://{host}:8000")
    assert "tunnel" in failure()
    assert "tunnel" in failure("--show-url")
    assert provider.requests == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://", "host"),
        ("https:///hook", "host"),
        ("https://1.2.3.4.5", "host"),
        ("https://256.1.1.1", "host"),
        ("https://example..com", "host"),
        ("https://example.com:0", "host"),
        ("https://example.com:99999", "host"),
        ("https://ex%61mple.com", "host"),
        ("https://[::1", "host"),
        ("https://[v1.example]", "host"),
        ("https://[::ffff:8.8.8.8]a", "host"),
        ("https://[fe80::1%25eth0]", "host"),
        ("https://[8.8.8.8::]", "host"),
        ("https://unknown-secret:unknown-secret@example.com", "password"),
        ("https://example.com/hook#unknown-secret", "fragment"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com/\n", "spaces"),
        ("https://açaí.com.br", "ASCII"),
    ],
)
def test_urls_that_are_none(provider, url, why):
    assert why in failure(url)
    assert provider.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://EXAMPLE.COM.:8443/hook?key=value",
        "https://8.8.8.8",
        "https://[2606:4700::1111]:8443/",
        "https://[::ffff:8.8.8.8]/",
        "https://localhost.example.com",
        "https://127.0.0.1.example.com",
        # Resolves to this machine, but nothing is looked up.
        "https://localtest.me",
    ],
)
def test_hosts_that_the_provider_may_reach(url):
    ensure_reachable(url)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((401, {}, b""), "TOKEN"),
        ((503, {}, b""), "Try again later"),
        ((404, {}, b""), "API_URL"),
        (REFUSED, "refused the URL"),
    ],
)
def test_what_the_provider_refuses(provider, answer, hint):
    provider.answers = [answer]
    assert hint in failure()


class WithoutCallback:
    urlpatterns: list[Any] = []


class WithCallbackOfAnother:
    urlpatterns = [path("", include(([path("callback/", defaults.page_not_found, name="callback")], "plugchat")))]


@pytest.mark.parametrize("urlconf", [WithoutCallback, WithCallbackOfAnother])
def test_urls_that_are_not_included(provider, urlconf):
    with override_settings(ROOT_URLCONF=urlconf):
        assert 'include("django_plugchat.urls")' in failure()
    assert provider.requests == []


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"API_TIMEOUT": "10"}, "API_TIMEOUT"),
        ({"ACCOUNTS": ["default"]}, "ACCOUNTS"),
        ({"API_URL": "http://example.com"}, "API_URL"),
        ({"ACCOUNTS": {"default": {"TOKEN": "unknown-secret\n", "WEBHOOK_SECRETS": [SECRET]}}}, "line break"),
    ],
)
def test_a_broken_setting(provider, plugchat, changes, hint):
    plugchat(**changes)
    assert hint in failure()
    assert provider.requests == []


def test_the_timeout_is_the_configured_one(provider, plugchat):
    plugchat(API_TIMEOUT=0.2)
    provider.answers = [provider.hang]
    assert "within 0.2 seconds" in failure()


@pytest.mark.parametrize(
    ("setting", "arguments", "line"),
    [
        ("PLUGCHAT", ["https://localhost:8000"], "PlugChat can't reach localhost"),
        ("PLUGCHAT | {'PUBLIC_URL': 'http://example.com', 'API_TIMEOUT': 0}", [], "PLUGCHAT['API_TIMEOUT']"),
    ],
)
def test_a_failure_in_the_shell_is_one_line(tmp_path, setting, arguments, line):
    (tmp_path / "settings_of_this_test.py").write_text(f"from tests.settings import *\nPLUGCHAT = {setting}\n")
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "settings_of_this_test"}
    command = [sys.executable, "-m", "django", "plugchat_set_webhook", "--pythonpath", str(tmp_path), *arguments]
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stdout == ""
    [told] = finished.stderr.splitlines()
    assert told.startswith(f"CommandError: {line}")
