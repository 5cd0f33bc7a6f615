"""The accounts of the database in the admin."""

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core import serializers
from django.utils import timezone

from django_plugchat import accounts
from django_plugchat.conf import secret_id
from django_plugchat.models import Account, Connection, Registration, WebhookSecret
from django_plugchat.registering import probe
from tests.payloads import EXAMPLE, url_of
from tests.people import person, text_of
from tests.provider import forget_environment, serving
from tests.rows import event, rejected

pytestmark = pytest.mark.django_db

LIST = "/admin/django_plugchat/account/"
ALL = ("view_account", "add_account", "change_account", "delete_account")
TOKEN = "token-that-somebody-typed"
REFUSED = (401, {}, b"")


def address_of(row: Account, step: str = "change") -> str:
    return f"{LIST}{row.pk}/{step}/"


def history_of(row: Account) -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.filter(object_id=row.pk).order_by("pk")]


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


@pytest.fixture
def row():
    return accounts.add("filial", label="Filial Sul")


@pytest.fixture
def provider(plugchat, monkeypatch):
    forget_environment(monkeypatch)
    with serving() as serve:
        provider = serve()
        plugchat(API_URL=provider.base_url)
        yield provider


@pytest.fixture
def reachable(monkeypatch):
    """What the test callback finds out."""
    found: list[Exception] = []

    def look(url, **options):
        for error in found:
            raise error

    monkeypatch.setattr("django_plugchat.admin.accounts.probe", look)
    return found


# The list and the page


def test_an_account_is_added_and_connected_next():
    client = person(*ALL)
    page = client.post(f"{LIST}add/", {"alias": "filial", "label": "Filial Sul", "provider": "plugchat"}, follow=True)
    row = Account.objects.get()
    assert page.redirect_chain[-1][0] == address_of(row)
    assert (row.alias, row.label, row.is_active) == ("filial", "Filial Sul", True)
    assert "The account was added. Connect it next." in text_of(page)
    assert "no address yet" in text_of(page)


@pytest.mark.parametrize(
    ("alias", "why"), [("default", "of the settings"), ("filial", "already"), ("a\tb", "printable")]
)
def test_an_alias_that_is_taken_or_no_alias(alias, why, row):
    page = person(*ALL).post(f"{LIST}add/", {"alias": alias, "provider": "plugchat"})
    assert why in text_of(page)
    assert Account.objects.count() == 1


def test_an_account_is_changed_but_for_its_alias(row):
    client = person(*ALL)
    client.post(address_of(row), {"alias": "other", "label": "Sul", "provider": "z-api", "instance": "3E4F"})
    row.refresh_from_db()
    assert (row.alias, row.label, row.instance, row.is_active) == ("filial", "Sul", "3E4F", False)
    assert "Its callbacks are refused" in text_of(client.get(address_of(row)))
    assert "Register" not in text_of(client.get(address_of(row)))


def test_the_list_says_how_each_is(row, django_assert_max_num_queries):
    accounts.add("plain")
    off = accounts.add("off")
    Account.objects.filter(pk=off.pk).update(is_active=False)
    for alias, is_connected in (("filial", False), ("up", True)):
        Connection.objects.create(account=alias, is_connected=is_connected, since=timezone.now())
    accounts.add("up")
    event(account="up")
    client = person("view_account")
    # On PostgreSQL the list switches jit off, within a savepoint.
    with django_assert_max_num_queries(11):
        text = text_of(client.get(LIST))
    for state in ("Filial Sul filial ! disconnected", "off inactive", "plain active none", "up ✓ connected Nov."):
        assert state.partition(" Nov.")[0] in text
    assert "up" not in text_of(client.get(f"{LIST}?is_active__exact=0")).partition("Filter")[0].split()
    assert "Filial Sul" in text_of(client.get(f"{LIST}?q=sul"))


def test_a_long_text_finds_nothing(admin_client):
    response = admin_client.get(LIST, {"q": "a " * 1_100})
    assert (response.status_code, response.context["cl"].result_count) == (200, 0)


def test_the_page_says_whether_the_account_lives(row):
    secret = accounts.new_secret("filial")
    now = timezone.now()
    for webhook in ("update-webhook-delivery", "update-webhook-message-status"):
        Registration.objects.create(
            account="filial", webhook=webhook, secret_id=secret_id(secret), registered_at=now - timedelta(hours=2)
        )
    Connection.objects.create(account="filial", instance_id="instance.id", is_connected=False, since=now)
    for minutes in (90, 5):
        event(account="filial", secret_id=secret_id(secret), received_at=now - timedelta(minutes=minutes))
    page = person("view_account", "change_account").get(address_of(row))
    text = text_of(page)
    assert "! 1 thing needs a person. Disconnected from WhatsApp" in text
    assert "Last callback 5 minutes ago" in text or "last callback 5 minutes ago" in text
    webhooks = {kept.webhook: bool(last) for kept, last in page.context["webhooks"]}
    assert webhooks == {"update-webhook-delivery": True, "update-webhook-message-status": False}
    assert f"{secret_id(secret)} registered" in text
    assert secret not in page.content.decode()


def test_nothing_is_offered_to_those_who_may_only_look(row):
    accounts.new_secret("filial")
    text = text_of(person("view_account").get(address_of(row)))
    for offered in ("Register", "test callback", "Retire", "Save"):
        assert offered not in text


def test_an_account_of_the_settings_wins(row, plugchat):
    plugchat(ACCOUNTS={"filial": {}})
    client = person(*ALL)
    assert "The settings have an account with this alias" in text_of(client.get(address_of(row)))
    assert client.post(address_of(row, "register"), {"token": TOKEN}).status_code == 403


def test_an_account_that_has_events_is_not_deleted(row):
    client = person(*ALL)
    Registration.objects.create(account="filial", webhook="w")
    for used in (event(account="filial"), rejected(account="filial")):
        assert client.post(address_of(row, "delete"), {"post": "yes"}).status_code == 403
        used.delete()
    assert client.post(address_of(row, "delete"), {"post": "yes"}).status_code == 302
    assert not Account.objects.exists()
    assert not Registration.objects.exists()


# Its steps


STEPS = ("register", "address", "test", "retire")


@pytest.mark.parametrize("step", STEPS)
def test_each_step_needs_the_permission_to_change(step, row):
    for permissions in ((), ("view_account",), ("add_account", "delete_account")):
        assert person(*permissions).post(address_of(row, step)).status_code == 403


@pytest.mark.parametrize("step", STEPS)
def test_looking_at_a_step_changes_nothing(step, row, provider, reachable):
    accounts.new_secret("filial")
    kept = WebhookSecret.objects.get()
    status = person(*ALL).get(f"{address_of(row, step)}?secret_id={kept.secret_id}").status_code
    assert status == (405 if step == "test" else 200)
    assert list(WebhookSecret.objects.all()) == [kept]
    assert provider.requests == history_of(row) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_an_account_that_is_not_there(step):
    assert person(*ALL).post(f"{LIST}7/{step}/").status_code == 404


def test_registering_makes_a_secret_and_tells_the_provider(row, provider, post):
    old = accounts.new_secret("filial")
    data = {"token": TOKEN, "with_status": "on", "with_connection": "on"}
    page = person(*ALL).post(address_of(row, "register"), data, follow=True)
    assert [request[1].rpartition("/")[2] for request in provider.requests] == [
        "update-webhook-delivery",
        "update-webhook-message-status",
        "update-webhook-connected",
        "update-webhook-disconnected",
    ]
    assert provider.requests[0][2]["Authorization"] == TOKEN
    (secret,) = set(re.findall(rb"callback/([^/]+)/", b"".join(request[3] for request in provider.requests)))
    assert "Registered with secret" in messages_of(page)
    assert history_of(row)[0].startswith(f"Registered with secret {secret_id(secret.decode())}: update-webhook")
    assert {kept.secret_id for kept in Registration.objects.all()} == {secret_id(secret.decode())}
    for works in (old, secret.decode()):
        assert post(EXAMPLE, url=url_of(works)).status_code == 200


def test_a_definite_no_retires_the_new_secret(row, provider):
    provider.answers = [REFUSED]
    page = person(*ALL).post(address_of(row, "register"), {"token": TOKEN}, follow=True)
    assert "was retired again" in messages_of(page)
    assert not WebhookSecret.objects.exists()
    assert history_of(row)[0].endswith("was retired again.")


def test_a_timeout_keeps_the_new_secret(row, provider, plugchat):
    plugchat(API_URL=provider.base_url, API_TIMEOUT=0.1)
    provider.answers = [provider.hang]
    page = person(*ALL).post(address_of(row, "register"), {"token": TOKEN}, follow=True)
    assert "was kept" in messages_of(page)
    assert WebhookSecret.objects.count() == 1


@pytest.mark.parametrize("data", [{"token": "two words"}, {}])
def test_what_can_not_be_registered_makes_no_secret(data, row, provider):
    page = person(*ALL).post(address_of(row, "register"), data)
    assert "errorlist" in page.content.decode()
    assert not WebhookSecret.objects.exists()
    assert provider.requests == []
    for token in data.values():
        assert token not in page.content.decode()


def test_an_account_of_z_api_has_a_client_token(provider):
    row = accounts.add("norte-2", provider="z-api", instance="3E4F")
    form = person(*ALL).get(address_of(row, "register"))
    assert "Client-Token" in text_of(form)
    assert "Client-Token" not in text_of(person(*ALL).get(address_of(accounts.add("plain"), "register")))


def token_source(alias: str) -> str:
    if alias == "unknown":
        raise LookupError(TOKEN)
    return TOKEN


def test_the_token_may_come_from_its_source(row, provider, plugchat):
    plugchat(API_URL=provider.base_url, TOKEN_SOURCE="tests.test_admin_accounts.token_source")
    client = person(*ALL)
    client.post(address_of(row, "register"), {"token": ""})
    assert provider.requests[0][2]["Authorization"] == TOKEN
    page = client.post(address_of(accounts.add("unknown"), "register"), {"token": ""})
    assert "TOKEN_SOURCE failed" in text_of(page)
    assert TOKEN not in page.content.decode()


def test_what_the_provider_says_of_itself_is_shown(row, monkeypatch):
    from django_plugchat.registering import registration

    def say(job: registration.Job) -> None:
        job.taken, job.warnings, job.problems = ["update-webhook-delivery"], ["Not noted."], ["A filter."]

    monkeypatch.setattr(registration.Job, "run", say)
    page = person(*ALL).post(address_of(row, "register"), {"token": TOKEN}, follow=True)
    assert [(message.level_tag, str(message)) for message in page.context["messages"]][1:] == [
        ("error", "A filter."),
        ("warning", "Not noted."),
    ]


def test_an_address_is_shown_once(row, post):
    client = person(*ALL)
    assert "callback/" not in client.get(address_of(row, "address")).content.decode()
    page = client.post(address_of(row, "address"))
    (secret,) = re.findall(r"/callback/([^/]+)/</code>", page.content.decode())
    assert "no-store" in page["Cache-Control"]
    assert post(EXAMPLE, url=url_of(secret)).status_code == 200
    assert history_of(row) == [f"Showed a new address with secret {secret_id(secret)}."]
    assert secret not in client.get(address_of(row)).content.decode()


@pytest.mark.parametrize("step", ["register", "address", "test"])
def test_without_an_address_of_this_site_nothing_is_done(step, row, provider, plugchat):
    plugchat(API_URL=provider.base_url, PUBLIC_URL="")
    page = person(*ALL).post(address_of(row, step), {"token": TOKEN}, follow=True)
    assert "PUBLIC_URL" in messages_of(page)
    assert not WebhookSecret.objects.exists()
    assert provider.requests == history_of(row) == []


def test_the_test_callback(row, reachable):
    client = person(*ALL)
    assert "got through" in messages_of(client.post(address_of(row, "test"), follow=True))
    reachable.append(probe.ProbeError("The name is not found."))
    assert "The name is not found." in messages_of(client.post(address_of(row, "test"), follow=True))
    got_through, stopped = history_of(row)
    assert "got through" in got_through
    assert stopped == "The test callback did not get through. The name is not found."


@pytest.mark.parametrize("is_used", [False, True])
def test_a_secret_is_retired_after_a_warning_if_it_is_in_use(is_used, row, post):
    secret = accounts.new_secret("filial")
    Registration.objects.create(account="filial", webhook="w", secret_id=secret_id(secret))
    event(
        account="filial", secret_id=secret_id(secret), received_at=timezone.now() - timedelta(days=1 if is_used else 8)
    )
    client, url = person(*ALL), f"{address_of(row, 'retire')}?secret_id={secret_id(secret)}"
    text = text_of(client.get(url))
    assert ("it is in use" in text) == is_used
    assert "registered last" in text
    assert "no other secret" in text
    assert "was retired" in messages_of(client.post(url, follow=True))
    assert post(EXAMPLE, url=url_of(secret)).status_code == 404
    assert f"{secret_id(secret)} was retired" in history_of(row)[0]


@pytest.mark.parametrize("given", ["", "\0", "0" * 8])
def test_a_secret_that_is_not_there_is_not_retired(given, row):
    page = person(*ALL).post(f"{address_of(row, 'retire')}?secret_id={given}", follow=True)
    assert "no secret" in messages_of(page)


# Nothing confidential


def test_nothing_confidential_is_kept(row, provider, reachable, caplog):
    """After all steps, in all that is stored and logged."""
    caplog.set_level(logging.DEBUG)
    client = person(*ALL)
    client.post(address_of(row, "register"), {"token": TOKEN, "with_status": "on"})
    provider.answers = [REFUSED]
    client.post(address_of(row, "register"), {"token": TOKEN})
    page = client.post(address_of(row, "address"))
    client.post(address_of(row, "test"))
    made = WebhookSecret.objects.first()
    client.post(f"{address_of(row, 'retire')}?secret_id={made.secret_id}")
    sent = b" ".join(request[3] for request in provider.requests).decode() + page.content.decode()
    confidential = {TOKEN, *re.findall(r"callback/([^/]+)/", sent)}
    assert len(confidential) == 4

    kept = [serializers.serialize("json", model.objects.all()) for model in apps.get_models()]
    kept += [repr(session.get_decoded()) for session in Session.objects.all()]
    kept += [record.getMessage() for record in caplog.records]
    assert "Registered with secret" in "".join(kept)
    for text in confidential:
        assert not [where for where in kept if text in where]
