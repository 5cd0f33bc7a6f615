"""The page that says how the accounts are doing."""

import html
import re
from collections import Counter
from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from django_plugchat import accounts, times
from django_plugchat.admin import overview
from django_plugchat.conf import secret_id
from django_plugchat.models import Connection, Registration
from django_plugchat.upkeep import findings
from tests.payloads import SECRET, SECRET_OF_NORTE
from tests.people import OVERVIEW, REJECTED, person, text_of
from tests.rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db

OF_NORTE = {"account": "norte", "secret_id": secret_id(SECRET_OF_NORTE)}


def many_accounts(number):
    return {f"account-{n}": {"WEBHOOK_SECRETS": [f"{SECRET}-{n}"], "LABEL": f"Loja {n}"} for n in range(number)}


def accounts_on(response):
    return [account["status"].alias for account in response.context["accounts"]]


def test_the_admins_index_and_sidebar_lead_to_it():
    for client, is_linked in ((person("view_deliveryevent"), True), (person("view_rejectedcallback"), False)):
        for page in ("/admin/", "/admin/django_plugchat/", OVERVIEW if is_linked else REJECTED):
            assert (f'href="{OVERVIEW}"' in client.get(page).content.decode()) == is_linked


def test_nothing_configured(plugchat):
    plugchat(ACCOUNTS={})
    assert "No account" in text_of(person("view_deliveryevent").get(OVERVIEW))


def test_all_is_well(plugchat, settings):
    event()
    event(**OF_NORTE)
    Registration.objects.create(
        account="norte", webhook="update-webhook-delivery", registered_at=timezone.now() - timedelta(days=3)
    )
    page = person("view_deliveryevent").get(OVERVIEW)
    text = text_of(page)
    assert "Nothing needs a person" in text
    assert "Registered 3 days ago" in text
    assert " open>" not in page.content.decode()
    plugchat(ACCOUNTS={"norte": settings.PLUGCHAT["ACCOUNTS"]["norte"]})
    event(account="old", received_at=timezone.now() - timedelta(days=10))
    assert "no longer configured" in text_of(person("view_deliveryevent").get(OVERVIEW))


def test_one_account_is_open(plugchat, settings):
    plugchat(ACCOUNTS={"norte": settings.PLUGCHAT["ACCOUNTS"]["norte"]})
    event(**OF_NORTE)
    assert " open>" in person("view_deliveryevent").get(OVERVIEW).content.decode()


def test_what_needs_a_person_comes_first():
    event()
    page = person("view_deliveryevent").get(OVERVIEW)
    assert accounts_on(page) == ["norte", "default"]
    assert "1 thing needs a person" in text_of(page)


def test_support_reads_sentences_and_those_who_may_dispatch_read_commands():
    event(dispatch_status=Status.EXHAUSTED)
    rejected()
    event(secret_id="0" * 8)
    Registration.objects.create(account="default", webhook="update-webhook-delivery", secret_id=secret_id(SECRET))
    support = text_of(person("view_deliveryevent").get(OVERVIEW))
    assert "1 callback could not be handed to your system; the developers see why." in support
    # What they can't open is not named.
    assert "ejected" not in support
    refused = text_of(person("view_deliveryevent", "view_rejectedcallback").get(OVERVIEW))
    assert "1 callback was refused." in refused
    for code in ("manage.py", "(exhausted)", "dispatch it again", "0" * 8, secret_id(SECRET), "update-webhook"):
        assert code not in support
    runs = text_of(person("view_deliveryevent", "redispatch_deliveryevent").get(OVERVIEW))
    assert "python manage.py plugchat_set_webhook --account norte" in runs
    assert "(exhausted)" in runs
    assert "Unknown secret in use: 00000000" in runs
    assert "developers see why" not in runs


@pytest.mark.parametrize("name", findings.TEXTS)
def test_a_sentence_for_support_names_no_command(name):
    finding = findings.Finding(name, findings.TEXTS[name])
    sentence = render_to_string("admin/django_plugchat/for_support.html", {"finding": finding, "counts": Counter()})
    # The clocks are a finding of the host, which support does not see.
    assert name == "clocks" or not re.search(r"plugchat_|receiver|dispatch|MAX_|NTP", sentence)


def test_what_was_said_in_a_day_is_counted_apart():
    event(message_id="M1")
    event(outcome="failed", error="Timeout on send message")
    event(outcome="read", message_id="M1", type="MessageStatusCallback", zaap_id="")
    text = text_of(person("view_deliveryevent").get(OVERVIEW))
    assert "Delivery callbacks in 24 hours: Sent 1, Not sent 1" in text
    assert "Statuses in 24 hours: Read 1" in text


def test_what_was_registered_is_shown_with_its_first_and_last_call():
    days = [timezone.now() - timedelta(days=days) for days in (3, 2, 1)]
    Registration.objects.create(
        account="default", webhook="update-webhook-delivery", secret_id="12345678", registered_at=days[0]
    )
    Registration.objects.create(account="default", webhook="update-webhook-message-status", registered_at=days[0])
    for day in days[1:]:
        event(received_at=day)
    Connection.objects.create(account="default", instance_id="I1", is_connected=False, since=days[1])
    page = person("view_deliveryevent", "redispatch_deliveryevent").get(OVERVIEW)
    text = text_of(page)
    shown = [times.shown(day) for day in days]
    called = f"first called on {shown[1]}, last called on {shown[2]}"
    assert f"update-webhook-delivery: registered on {shown[0]}, secret 12345678, {called}" in text
    assert f"update-webhook-message-status: registered on {shown[0]}, secret , not called since" in text
    assert "Instance I1: disconnected since" in text
    # And where nothing was, how to.
    assert "no webhook of this account: python manage.py plugchat_set_webhook --account norte" in text


def test_this_hosts_findings_are_for_those_who_run_it(monkeypatch, plugchat):
    finding = findings.Finding("clocks", "The clocks differ.")
    monkeypatch.setattr(findings, "of_this_host", lambda: [finding])
    assert "The clocks differ" not in text_of(person("view_deliveryevent").get(OVERVIEW))
    runs = person("view_deliveryevent", "redispatch_deliveryevent")
    assert "The clocks differ. (clocks)" in text_of(runs.get(OVERVIEW))
    plugchat(ADMIN_ACCOUNTS="tests.test_admin_message.only_norte")
    page = runs.get(OVERVIEW)
    assert accounts_on(page) == ["norte"]
    assert "The clocks differ" not in text_of(page)


def test_each_account_says_how_much_needs_a_person():
    event(dispatch_status=Status.EXHAUSTED)
    event(dispatch_status=Status.EXHAUSTED, received_at=timezone.now() - timedelta(days=9), account="norte")
    text = text_of(person("view_deliveryevent").get(OVERVIEW))
    assert "Loja Centro (default) ! 1 thing needs a person." in text
    assert "norte ! 2 things need a person." in text


def test_findings_lead_to_their_rows():
    assert overview.ROWS.keys() <= findings.TEXTS.keys()
    event(dispatch_status=Status.EXHAUSTED)
    rejected(account="norte")
    page = person("view_deliveryevent").get(OVERVIEW).content.decode()
    assert "deliveryevent/?account=default&amp;dispatch_status__exact=exhausted" in page
    # Not for those who may not see them.
    assert "rejectedcallback/?account=norte" not in page
    client = person("view_deliveryevent", "view_rejectedcallback")
    assert "rejectedcallback/?account=norte" in client.get(OVERVIEW).content.decode()


def test_the_rows_of_24_hours_are_shown_after_midnight_too():
    failed = events(20, outcome="failed", received_at=timezone.now() - timedelta(hours=23))
    client = person("view_deliveryevent")
    page = html.unescape(client.get(OVERVIEW).content.decode())
    (link,) = re.findall(r'href="([^"]*situation=failed[^"]*)"', page)
    assert len(client.get(link).context["cl"].result_list) == len(failed)


@pytest.mark.parametrize(("model", "query"), sorted({*overview.ROWS.values()}))
def test_each_link_is_an_address_that_the_list_takes(model, query, admin_client):
    url = f"/admin/django_plugchat/{model}/{query.format(account='default', yesterday='2026-03-09')}"
    assert admin_client.get(url).status_code == 200


def test_an_account_of_the_database_has_a_page():
    row = accounts.add("filial", label="Filial Sul")
    pages = []
    for permission in ("view_account", "change_account", "add_account"):
        page = person("view_deliveryevent", permission).get(OVERVIEW).content.decode()
        pages.append(re.findall(r'href="(/admin/django_plugchat/account/[^"]+/)">Page of this account', page))
    change = f"/admin/django_plugchat/account/{row.pk}/change/"
    # Those of the settings have none.
    assert pages == [[change], [change], []]


def test_hundreds_of_accounts(plugchat):
    plugchat(ACCOUNTS=many_accounts(60))
    for n in range(59):
        events(1, account=f"account-{n}", secret_id=secret_id(f"{SECRET}-{n}"))
    client = person("view_deliveryevent")
    first = client.get(OVERVIEW)
    assert len(accounts_on(first)) == overview.ACCOUNTS_ON_A_PAGE
    assert accounts_on(first)[:2] == ["account-59", "account-0"]
    text = text_of(first)
    assert "Page 1 of 3" in text
    assert "Next page" in text
    assert "Previous page" not in text
    text = text_of(client.get(OVERVIEW, {"p": "2"}))
    assert "Next page" in text
    assert "Previous page" in text
    text = text_of(client.get(OVERVIEW, {"p": "99"}))
    assert "Page 3 of 3" in text
    assert "Next page" not in text


def test_an_account_is_found_by_its_name(plugchat):
    plugchat(ACCOUNTS=many_accounts(60))
    client = person("view_deliveryevent")
    assert accounts_on(client.get(OVERVIEW, {"q": "loja 47"})) == ["account-47"]
    page = client.get(OVERVIEW, {"q": '"><script>'})
    assert "No account of that name" in text_of(page)
    assert b'<script>"' not in page.content
    assert 'value="&quot;&gt;&lt;script&gt;"' in page.content.decode()
