"""Who is told of what needs a person: once when it begins, once when it is over."""

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django.utils.translation import override

from django_plugchat.models import Notice, RejectedCallback
from django_plugchat.upkeep import findings, notify
from django_plugchat.upkeep.findings import statuses
from tests.databases import in_threads, raising
from tests.payloads import EXAMPLE, SECRET
from tests.provider import Authority, Provider, drop, forget_environment, resolve_here, serving
from tests.rows import Status, event, rejected

pytestmark = pytest.mark.django_db

HOST = "chat.example.com"
TARGET = "ops@shop.example"
PATH = "/services/T0/B0/secret-of-the-chat"
OK = (200, {}, b"ok")


@pytest.fixture(autouse=True)
def one_account(plugchat, settings) -> None:
    plugchat(ACCOUNTS={"default": settings.PLUGCHAT["ACCOUNTS"]["default"]}, PUBLIC_URL="https://example.com")
    event(dispatch_status=Status.DONE)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def chat(authority: Authority, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Provider]]:
    """Something that takes JSON over HTTPS, with the answers that it gives."""
    forget_environment(monkeypatch)
    resolve_here(monkeypatch, HOST)
    authority.trust(tmp_path, monkeypatch)
    tls: ssl.SSLContext = authority.tls(HOST)
    with serving() as serve:
        yield lambda *answers: serve(*answers, tls=tls)


def url_of(chat: Provider) -> str:
    return f"https://{HOST}:{chat.port}{PATH}"


def run(*targets: str, options: tuple[str, ...] = ()) -> tuple[bool, str]:
    """Whether the command succeeded, and all that it said."""
    output = StringIO()
    arguments = [word for target in targets for word in ("--notify", target)]
    try:
        call_command("plugchat_status", *arguments, *options, stdout=output)
    except CommandError as error:
        return False, f"{output.getvalue()}\n{error}"
    return True, output.getvalue()


def mails() -> list[tuple[str, str]]:
    sent = [(message.subject, message.body) for message in mail.outbox]
    mail.outbox.clear()
    return sent


def test_nobody_is_told_where_nothing_needs_a_person():
    assert run(TARGET)[0]
    assert mails() == []


def test_what_begins_and_what_is_over_is_told_once():
    given_up = event(dispatch_status=Status.EXHAUSTED)
    succeeded, output = run(TARGET)
    assert not succeeded
    assert TARGET not in output
    (told,) = mail.outbox
    assert told.to == [TARGET]
    assert told.subject == "PlugChat at example.com: 1 new, 0 over"
    assert told.body.splitlines() == [
        "Needs a person:",
        "- Loja Centro (default): exhausted. Events that your code failed for and that were given up: 1.",
        "  https://github.com/django-plugchat/django-plugchat/blob/main/docs/howto/monitoring.md#exhausted",
    ]
    mail.outbox.clear()
    run(TARGET)
    assert mails() == []
    # Whoever is told from now on hears of it.
    run(TARGET, "boss@shop.example")
    assert [message.to for message in mail.outbox] == [["boss@shop.example"]]
    mail.outbox.clear()

    rejected()
    run(TARGET)
    ((_subject, text),) = mails()
    assert "rejected" in text
    assert "exhausted" not in text

    given_up.delete()
    run(TARGET)
    assert mails() == [
        ("PlugChat at example.com: 0 new, 1 over", "Over:\n- Loja Centro (default): exhausted"),
    ]
    run(TARGET)
    assert mails() == []


def test_it_is_told_in_the_language_of_the_site():
    event(dispatch_status=Status.EXHAUSTED)
    with override("pt-br"):
        (account,) = statuses()
        notify.tell(TARGET, [account], [])
    assert "docs/pt-br/howto/monitoring.md#exhausted" in mail.outbox[0].body


def test_a_command_is_told_where_there_is_one():
    event(dispatch_status=Status.RETRYING, dispatch_due_at=timezone.now() + timedelta(hours=1), dispatch_failed=True)
    run(TARGET)
    assert "\n  python manage.py plugchat_redispatch --now\n  https://" in mails()[0][1]


def test_neither_numbers_nor_secrets_are_told(plugchat):
    alias = "5511999998888"
    plugchat(ACCOUNTS={alias: {"WEBHOOK_SECRETS": [SECRET], "LABEL": "Maria (11) 99999-8888"}})
    event(account=alias, dispatch_status=Status.EXHAUSTED, error=EXAMPLE["phone"], dispatch_error=EXAMPLE["phone"])
    rejected(EXAMPLE["phone"].encode(), account=alias, secret_id="12345678")
    event(account=alias, secret_id="12345678", dispatch_status=Status.DONE)
    run(TARGET)
    ((subject, text),) = mails()
    assert "Maria (****" in text
    assert "--account ****" in text
    for number in (alias, "9999", EXAMPLE["phone"], SECRET):
        assert number not in subject + text


def test_a_chat_is_told_in_json(chat):
    event(dispatch_status=Status.EXHAUSTED)
    there = chat(OK)
    run(url_of(there))
    ((method, path, headers, body),) = there.requests
    assert (method, path, headers["Content-Type"]) == ("POST", PATH, "application/json")
    (text,) = json.loads(body).values()
    assert text.startswith(
        "PlugChat at example.com: 1 new, 0 over\n\nNeeds a person:\n- Loja Centro (default): exhausted"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {}, b""), "HTTP 500"),
        ((302, {"Location": "https://example.com/"}, b""), "HTTP 302"),
        (drop, "RemoteDisconnected"),
    ],
)
def test_a_target_that_fails_is_told_the_next_time(chat, caplog, answer, reason):
    caplog.set_level(logging.DEBUG)
    given_up = event(dispatch_status=Status.EXHAUSTED)
    there = chat(answer, OK, answer, OK)
    succeeded, output = run(url_of(there))
    assert not succeeded
    assert f"{HOST} could not be told ({reason}" in output
    assert not Notice.objects.exists()
    run(url_of(there))
    assert len(there.requests) == 2
    given_up.delete()
    # That it is over is told again as well; and it is what makes exit code 1.
    assert not run(url_of(there))[0]
    assert run(url_of(there))[0]
    assert "Over:" in json.loads(there.requests[3][3])["text"]
    assert PATH not in caplog.text + output


def test_a_mail_that_fails(monkeypatch):
    refuse = raising(OSError("ops@shop.example does not like you"))
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    event(dispatch_status=Status.EXHAUSTED)
    _succeeded, output = run(TARGET)
    assert "shop.example could not be told (OSError)" in output
    assert TARGET not in output
    assert not Notice.objects.exists()


def test_what_is_interrupted_is_told_the_next_time(monkeypatch):
    interrupt = raising(KeyboardInterrupt())
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", interrupt)
    event(dispatch_status=Status.EXHAUSTED)
    with pytest.raises(KeyboardInterrupt):
        run(TARGET)
    assert not Notice.objects.exists()


@pytest.mark.parametrize("target", ["", "ops", "http://chat.example.com/x", "https://", "ftp://a.example/", "a@b@c"])
def test_what_is_no_target(target):
    event(dispatch_status=Status.EXHAUSTED)
    succeeded, output = run(TARGET, target)
    assert not succeeded
    assert "--notify takes an e-mail address or a URL" in output
    assert mails() == []


def test_one_account_says_nothing_of_the_others(plugchat):
    rejected()
    rejected(account="sul")
    event(account="sul", received_at=timezone.now() - timedelta(days=9))
    run(TARGET)
    mail.outbox.clear()
    RejectedCallback.objects.all().delete()
    run(TARGET, options=("--account", "sul"))
    assert [text for _subject, text in mails()] == ["Over:\n- sul: rejected"]


def test_hosts_tell_of_themselves(monkeypatch):
    monkeypatch.setattr(notify.socket, "gethostname", lambda: "web1")
    monkeypatch.setattr(findings, "CLOCKS", {connection.vendor: "0"})
    run(TARGET)
    assert "- web1: clocks." in mails()[0][1]
    # Another host, whose clock is right, does not say that it is over.
    monkeypatch.setattr(findings, "CLOCKS", {})
    monkeypatch.setattr(notify.socket, "gethostname", lambda: "web2")
    run(TARGET)
    assert mails() == []
    monkeypatch.setattr(notify.socket, "gethostname", lambda: "web1")
    run(TARGET)
    assert mails()[0][1] == "Over:\n- web1: clocks"


def test_a_long_list_is_cut(plugchat):
    for number in range(60):
        rejected(account=f"a{number}")
    run(TARGET)
    ((subject, text),) = mails()
    assert "60 new" in subject
    assert "… and 10 more: plugchat_status --problems" in text
    assert text.count("rejected. ") == 50


@pytest.mark.django_db(transaction=True)
def test_of_several_hosts_one_tells():
    given_up = event(dispatch_status=Status.EXHAUSTED)
    rejected()
    accounts = statuses()
    for account in accounts:
        assert len(account.findings) == 2
    in_threads([lambda: notify.tell(TARGET, accounts, [])] * 4, threads=4)
    assert sum(text.count("exhausted.") for _subject, text in mails()) == 1
    given_up.delete()
    rejected_only = statuses()
    in_threads([lambda: notify.tell(TARGET, rejected_only, [])] * 4, threads=4)
    assert [text for _subject, text in mails()] == ["Over:\n- Loja Centro (default): exhausted"]
