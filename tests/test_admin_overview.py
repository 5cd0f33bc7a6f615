"""The page that says how the accounts are doing, and the list of what was registered."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from django_plugchat.admin import overview
from django_plugchat.conf import secret_id
from django_plugchat.models import Registration
from tests.payloads import SECRET, SECRET_OF_NORTE
from tests.people import OVERVIEW, REGISTRATIONS, person, text_of
from tests.rows import Status, event, events, rejected

pytestmark = pytest.mark.django_db

OF_NORTE = {"account": "norte", "secret_id": secret_id(SECRET_OF_NORTE)}


def many_accounts(number):
    return {f"account-{n}": {"WEBHOOK_SECRETS": [f"{SECRET}-{n}"], "LABEL": f"Loja {n}"} for n in range(number)}


def accounts_on(response):
    return [account["status"].alias for account in response.context["accounts"]]


def test_the_page_is_for_those_who_may_see_events():
    assert person("view_rejectedcallback", "view_registration").get(OVERVIEW).status_code == 403
    assert person("view_deliveryevent").get(OVERVIEW).status_code == 200


def test_the_index_of_the_app_leads_to_it():
    for client, is_linked in ((person("view_deliveryevent"), True), (person("view_registration"), False)):
        assert (OVERVIEW in client.get("/admin/django_plugchat/").content.decode()) == is_linked


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


def test_what_needs_a_person_comes_first_with_what_to_do():
    event()
    page = person("view_deliveryevent").get(OVERVIEW)
    assert accounts_on(page) == ["norte", "default"]
    text = text_of(page)
    assert "1 thing needs a person" in text
    assert "python manage.py plugchat_set_webhook --account norte" in text


def test_each_rule_has_a_name_that_people_read():
    event(dispatch_status=Status.EXHAUSTED)
    page = person("view_deliveryevent").get(OVERVIEW, headers={"accept-language": "pt-br"})
    (marks,) = re.findall(r"<strong>Loja Centro.*?</summary>", page.content.decode(), re.DOTALL)
    assert "tentativas esgotadas" in marks
    assert "exhausted" not in marks
    # By which the runbook has it.
    assert "(exhausted)" in text_of(page)


def test_findings_lead_to_their_rows():
    event(dispatch_status=Status.EXHAUSTED)
    rejected(account="norte")
    page = person("view_deliveryevent").get(OVERVIEW).content.decode()
    assert "deliveryevent/?account=default&amp;dispatch_status__exact=exhausted" in page
    # Not for those who may not see them.
    assert "rejectedcallback/?account=norte" not in page
    client = person("view_deliveryevent", "view_rejectedcallback")
    assert "rejectedcallback/?account=norte" in client.get(OVERVIEW).content.decode()


def test_each_link_is_an_address_that_the_list_takes(admin_client):
    for model, filters in overview.ROWS.values():
        response = admin_client.get(f"/admin/django_plugchat/{model}/", {"account": "default", **filters})
        assert response.status_code == 200


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


# Registrations


def test_registrations_are_read_by_those_who_may_and_changed_by_none(admin_client):
    Registration.objects.create(account="norte", webhook="update-webhook-delivery", secret_id="12345678")
    row = Registration.objects.create(account="default", webhook="messageStatus", secret_id="12345678")
    assert person("view_deliveryevent").get(REGISTRATIONS).status_code == 403
    page = person("view_registration").get(REGISTRATIONS)
    assert [shown.account for shown in page.context["cl"].result_list] == ["default", "norte"]
    assert "Loja Centro messageStatus" in text_of(page)
    assert "12345678" in text_of(page)
    assert admin_client.get(f"{REGISTRATIONS}{row.pk}/change/").status_code == 200
    assert admin_client.get(f"{REGISTRATIONS}add/").status_code == 403
    assert admin_client.post(f"{REGISTRATIONS}{row.pk}/change/", {"account": "other"}).status_code == 403
