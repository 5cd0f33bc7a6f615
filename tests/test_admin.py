"""The list of messages: what it opens with, what it says of each, by what it is narrowed, and who sees what."""

import re
from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from django_plugchat import accounts
from django_plugchat.admin import base, filters
from django_plugchat.models import DeliveryEvent

from .payloads import SECRET, SECRET_OF_NORTE
from .people import EVENTS, OVERVIEW, REJECTED, person, select, text_of
from .rows import event, events, rejected, status

pytestmark = pytest.mark.django_db

VIEW = ("view_deliveryevent", "view_rejectedcallback")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
#: Of a page on PostgreSQL: the statements that switch its compiler off, and on again.
UNCOMPILED = 3 if connection.vendor == "postgresql" else 0


def rows_of(response):
    return list(response.context["cl"].result_list)


def found(client, **query):
    response = client.get(EVENTS, query)
    assert response.status_code == 200
    return {row.zaap_id or row.message_id for row in rows_of(response)}


def cell(response, row, name):
    """What is in one column of one row."""
    page = response.content.decode()
    (line,) = re.findall(rf"<tr>(?:(?!</tr>).)*?/{row.pk}/change/.*?</tr>", page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", re.search(rf"field-{name}[^>]*>(.*?)</t[dh]>", line, re.DOTALL)[1]).split())


# Where one is


@pytest.mark.parametrize(
    ("url", "title"),
    [(EVENTS, "Messages"), (REJECTED, "Rejected callbacks"), (OVERVIEW, "How the accounts are doing")],
)
def test_the_lists_say_what_they_hold(admin_client, url, title):
    """Django's own title asks to select a row to view."""
    assert f"<h1>{title}</h1>" in admin_client.get(url).content.decode()


@pytest.mark.parametrize(
    ("url", "action", "way"),
    [
        (f"{EVENTS}chart/", "", ["/admin/", "/admin/django_plugchat/", EVENTS]),
        (OVERVIEW, "", ["/admin/", "/admin/django_plugchat/"]),
        (EVENTS, "delete_selected", ["/admin/", "/admin/django_plugchat/", EVENTS]),
    ],
)
def test_pages_of_our_own_lead_back_like_those_of_django(admin_client, url, action, way):
    response = select(admin_client, url, action, event()) if action else admin_client.get(url)
    (breadcrumbs,) = re.findall(r'<ol class="breadcrumbs.*?</ol>', response.content.decode(), re.DOTALL)
    assert re.findall(r'href="(.*?)"', breadcrumbs) == way
    assert re.findall(r'aria-current="page">(.*?)<', breadcrumbs) == [response.context["title"]]


def test_choosing_an_action_is_asked_for_in_words(admin_client):
    event()
    page = admin_client.get(EVENTS, headers={"accept-language": "pt-br"}).content.decode()
    (choices,) = re.findall(r'<select name="action".*?</select>', page, re.DOTALL)
    labels = re.findall(r"<option[^>]*>(.*?)</option>", choices)
    assert labels[0] == "Escolha uma ação"
    assert "Processar de novo" in labels


# Read-only


@pytest.mark.parametrize(("url", "make"), [(EVENTS, event), (REJECTED, rejected)])
def test_where_there_are_no_rows_no_action_is_offered(admin_client, url, make):
    assert 'name="action"' not in admin_client.get(url).content.decode()
    make()
    assert 'name="action"' in admin_client.get(url).content.decode()


@pytest.mark.parametrize(("url", "make"), [(EVENTS, event), (REJECTED, rejected)])
def test_nobody_adds_or_changes_a_row(admin_client, url, make):
    row = make()
    assert admin_client.get(f"{url}add/").status_code == 403
    assert admin_client.post(f"{url}add/", {}).status_code == 403
    page = admin_client.get(f"{url}{row.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert admin_client.post(f"{url}{row.pk}/change/", {"account": "other"}).status_code == 403


@pytest.mark.parametrize(
    ("url", "other_permissions"),
    [
        (EVENTS, ("view_rejectedcallback",)),
        (f"{EVENTS}chart/", ("view_rejectedcallback",)),
        (f"{EVENTS}export/", ("view_rejectedcallback", "export_deliveryevent")),
        (REJECTED, ("view_deliveryevent",)),
        (OVERVIEW, ("view_rejectedcallback", "view_registration")),
    ],
)
def test_without_its_permission_a_page_is_not_shown(url, other_permissions):
    assert person(*other_permissions).get(url).status_code == 403


# What the list shows


def test_it_opens_with_messages_newest_first(trusted):
    now = timezone.now()
    event(zaap_id="OLDER", received_at=now - timedelta(hours=1))
    status("read", "M1", received_at=now)
    newer = event(
        zaap_id="NEWER-WITH-A-LONG-ID", custom_id="order-7", times_received=3, dispatch_status="done",
        received_at=now - timedelta(minutes=1),
    )  # fmt: skip
    response = trusted.get(EVENTS)
    assert [row.zaap_id for row in rows_of(response)] == [newer.zaap_id, "OLDER"]
    assert cell(response, newer, "number") == "+55 44 9999-9999 Loja Centro"
    assert cell(response, newer, "ids") == f"order-7 zaapId {newer.zaap_id}"
    assert f'title="{newer.zaap_id}"' in response.content.decode()
    assert cell(response, newer, "received").endswith("3 times")
    # Without a search nothing was found that could be "shown all".
    assert "results" not in text_of(response)


@pytest.mark.parametrize(
    ("dispatch_status", "minutes", "shown"),
    [
        ("done", None, ""),
        ("none", None, ""),
        ("pending", 5, ""),
        ("pending", -5, "Dispatch: Waiting"),
        ("running", 5, ""),
        ("running", -5, "Dispatch: Running"),
        ("retrying", 5, "Dispatch: Will try again"),
        ("exhausted", None, "Dispatch: Given up"),
    ],
)
def test_only_what_your_code_has_not_taken_is_worth_a_word(viewer, dispatch_status, minutes, shown):
    due_at = minutes and timezone.now() + timedelta(minutes=minutes)
    row = event(dispatch_status=dispatch_status, dispatch_due_at=due_at)
    assert cell(viewer.get(EVENTS), row, "came_to") == f"✓ Sent {shown}".strip()


def test_a_row_says_what_other_rows_of_its_message_say(viewer):
    # The first callback of a message that timed out had no messageId yet.
    timed_out = event(zaap_id="SAME", outcome="failed", error="Timeout on send message")
    event(zaap_id="SAME", message_id="M1", received_at=timezone.now() - timedelta(days=9))
    status("played", "M1")
    response = viewer.get(EVENTS, {"received": "today"})
    assert rows_of(response) == [timed_out]
    assert cell(response, timed_out, "came_to").startswith("▶ Played Temporary")


def test_a_list_that_is_read_from_a_replica_says_how_old_it_is(viewer, settings, monkeypatch):
    event(received_at=timezone.now() - timedelta(minutes=50, seconds=1))
    assert "copy of the database" not in viewer.get(EVENTS).content.decode()
    monkeypatch.setitem(connections.databases, "replica", connections.databases["default"])
    settings.DATABASE_ROUTERS = ["tests.test_models.Replica"]
    connections["replica"] = connections["default"]
    try:
        page = viewer.get(EVENTS).content.decode()
    finally:
        del connections["replica"]
    assert "whose newest event came 50\xa0minutes ago" in page


def test_a_row_without_ids_is_not_mixed_with_others(viewer):
    made_by_hand = event(zaap_id="", message_id="")
    event(message_id="M1")
    status("read", "M1")
    assert "Sent" in cell(viewer.get(EVENTS), made_by_hand, "came_to")


def test_a_failure_is_told_in_the_readers_language_and_in_plugchats_words(trusted):
    failed = event(outcome="failed", error="Whatsapp did not allow it, ask 5544988887777", error_code="SHADOW_BAN")
    text = cell(trusted.get(EVENTS), failed, "came_to")
    assert "WhatsApp restricts the sender" in text
    assert "ask 5544988887777 · SHADOW_BAN" in text


def test_a_failure_of_a_later_version_is_told_as_it_is(viewer):
    failed = event(outcome="failed", failure="unheard")
    assert cell(viewer.get(EVENTS), failed, "came_to").startswith("✕ Not sent unheard")


def test_a_status_whose_delivery_callback_was_lost_is_found_as_a_message(trusted):
    status("received", "M1", phone="120363019502650977-group", participant="5511999998888")
    last = status("read", "M1", phone="120363019502650977-group", participant="5511999998888")
    assert rows_of(trusted.get(EVENTS)) == []
    response = trusted.get(EVENTS, {"q": "M1"})
    assert rows_of(response) == [last]
    assert cell(response, last, "number") == "120363019502650977-group +55 11 99999-8888 Loja Centro"
    assert cell(response, last, "came_to") == "✓✓ Read Status"
    assert cell(response, last, "ids") == "messageId M1"
    assert rows_of(trusted.get(EVENTS, {"q": "M1", "situation": "received"})) == []
    assert rows_of(trusted.get(EVENTS, {"q": "M1", "situation": "read"})) == [last]


def test_what_only_a_status_says_finds_its_message(trusted):
    """The contact's other id, a participant of a group."""
    message, other = event(message_id="M1"), event(message_id="M1", account="norte")
    status("received", "M1", phone="123456789012345@lid")
    status("read", "M1", participant="5511999998888")
    for typed in ("123456789012345@lid", "(11) 99999-8888"):
        assert rows_of(trusted.get(EVENTS, {"q": typed})) == [message]
    assert rows_of(trusted.get(EVENTS, {"q": "M1", "account": "norte"})) == [other]


def test_an_account_that_is_gone_is_shown_by_its_alias(viewer):
    event(account="gone")
    assert "gone" in text_of(viewer.get(EVENTS))


# What it costs


def test_the_list_takes_as_many_queries_for_a_hundred_rows_as_for_one(viewer, django_assert_num_queries):
    event(message_id="M", account="norte")
    # Session, user, the user's and the groups' permissions, keys as far as they are counted, rows.
    accounts.labels()  # read every 30 seconds
    with django_assert_num_queries(6 + UNCOMPILED):
        viewer.get(EVENTS)
    for account in ("default", "norte"):
        events(60, message_id="M", account=account)
    with django_assert_num_queries(6 + UNCOMPILED) as queries:
        assert len(rows_of(viewer.get(EVENTS))) == 100
    assert not [query for query in queries if "payload" in query["sql"]]


def test_no_page_counts_to_the_end(admin_client, monkeypatch, settings):
    monkeypatch.setattr(base, "MAX_COUNTED", 150)
    events(155)
    with CaptureQueriesContext(connection) as queries:
        response = admin_client.get(EVENTS)
    assert not [query for query in queries if "COUNT(" in query["sql"]]
    assert len([query for query in queries if "LIMIT 151" in query["sql"]]) == 1
    assert "≥150" in text_of(response)
    assert len(rows_of(admin_client.get(EVENTS, {"p": 2}))) == 50
    settings.USE_THOUSAND_SEPARATOR = True
    monkeypatch.setattr(base, "MAX_COUNTED", 15)
    assert "≥15" in text_of(admin_client.get(EVENTS))


def test_two_thousand_accounts_cost_the_page_nothing(viewer, plugchat):
    event()
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [SECRET]}})
    few = viewer.get(EVENTS)
    plugchat(ACCOUNTS={f"shop-{number:04}": {"LABEL": f"Shop {number}"} for number in range(2000)})
    many = viewer.get(EVENTS)
    assert len(many.content) < len(few.content) + 1000


@pytest.mark.parametrize("order", ["1", "-8", "8.1", ""])
def test_no_other_order_is_taken(viewer, order):
    now = timezone.now()
    for minutes in (2, 0, 1):
        event(zaap_id=str(minutes), received_at=now - timedelta(minutes=minutes), times_received=minutes + 1)
    assert [row.zaap_id for row in rows_of(viewer.get(EVENTS, {"o": order}))] == ["0", "1", "2"]


# One message, one story


def shown_in_file(content):
    return Counter(line.split(";")[5] for line in content.splitlines()[1:])


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_list_filters_file_chart_and_page_tell_the_same_of_every_message(language):
    """Each counts messages, by how far they have come."""
    fates = {"sent": 5, "received": 4, "read": 3, "played": 2, "failed": 1}
    messages = {
        fate: [event(message_id=f"{fate}{n}", outcome="failed" if fate == "failed" else "sent") for n in range(count)]
        for fate, count in fates.items()
    }
    steps = ("received", "read", "played")
    for fate in steps:
        for message in messages[fate]:
            for told in ("sent", *steps[: steps.index(fate) + 1]):
                status(told, message.message_id)
    client = person(*VIEW, "view_phone", "export_deliveryevent")
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    with translation.override(language):
        labels = {fate: str(DeliveryEvent.Outcome(fate).label) for fate in fates}
    in_chart = client.get(f"{EVENTS}chart/").context["chart"].counts
    in_file = shown_in_file(client.get(f"{EVENTS}export/").getvalue().decode())
    in_list = Counter(row.progress for row in rows_of(client.get(EVENTS)))
    for fate, count in fates.items():
        filtered = client.get(EVENTS, {"situation": fate})
        assert {row.pk for row in rows_of(filtered)} == {message.pk for message in messages[fate]}
        shown = {cell(filtered, row, "came_to").split(" ", 1)[1] for row in messages[fate]}
        assert all(text.startswith(labels[fate]) for text in shown)
        file = client.get(f"{EVENTS}export/", {"situation": fate}).getvalue().decode()
        assert shown_in_file(file) == {labels[fate]: count}
        assert in_list[fate] == in_chart[fate] == in_file[labels[fate]] == count
        assert client.get(f"{EVENTS}{messages[fate][0].pk}/change/").context["story"].progress == fate


# Filters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"SENT", "READ", "NONEXISTENT", "BANNED", "ODD"}),
        ({"account": "norte"}, {"ODD"}),
        ({"situation": "sent"}, {"SENT"}),
        ({"situation": "read"}, {"READ"}),
        ({"situation": "received"}, set()),
        ({"situation": "failed"}, {"NONEXISTENT", "BANNED", "ODD"}),
        ({"situation": "failed", "account": "default"}, {"NONEXISTENT", "BANNED"}),
        ({"situation": "number"}, {"NONEXISTENT"}),
        ({"situation": "restricted"}, {"BANNED"}),
        ({"situation": "other"}, {"ODD"}),
        ({"situation": "media"}, set()),
        # Whatever waits, waits: also a status.
        ({"dispatch_status__exact": "exhausted"}, {"SENT", "M-READ"}),
        ({"dispatch_status__exact": "exhausted", "q": "M-READ"}, {"M-READ"}),
        ({"dispatch_status__exact": "none", "account": "default"}, {"NONEXISTENT", "BANNED", "READ"}),
    ],
)
def test_filters(viewer, query, expected):
    event(zaap_id="SENT", dispatch_status="exhausted")
    event(zaap_id="NONEXISTENT", outcome="failed", error="phone number does not exist.")
    event(zaap_id="BANNED", outcome="failed", error="Not allowed", error_code="SHADOW_BAN")
    event(zaap_id="ODD", outcome="failed", error="Something else", account="norte")
    event(zaap_id="READ", message_id="M-READ")
    status("read", "M-READ", dispatch_status="exhausted")
    status("received", "M-READ", dispatch_status="done")
    assert found(viewer, **query) == expected


def test_a_situation_is_looked_for_among_the_newest_messages(viewer, monkeypatch):
    monkeypatch.setattr(filters, "MAX_MESSAGES_READ", 2)
    now = timezone.now()
    for days in range(4):
        event(zaap_id=f"{days}-DAYS-AGO", received_at=now - timedelta(days=days))
    assert found(viewer, situation="sent") == {"0-DAYS-AGO", "1-DAYS-AGO", "2-DAYS-AGO"}
    assert "For older ones" in text_of(viewer.get(EVENTS, {"situation": "sent"}))
    until = timezone.localdate(now - timedelta(days=2)).isoformat()
    older = viewer.get(EVENTS, {"situation": "sent", "received_to": until})
    assert {row.zaap_id for row in rows_of(older)} == {"2-DAYS-AGO", "3-DAYS-AGO"}
    assert "For older ones" not in text_of(older)
    # A file has them all.
    exporter = person("view_deliveryevent", "export_deliveryevent")
    assert exporter.get(f"{EVENTS}export/", {"situation": "sent"}).getvalue().decode().count("DAYS-AGO") == 4
    # A search has found few, whatever their age.
    assert found(viewer, situation="sent", q="3-DAYS-AGO") == {"3-DAYS-AGO"}


def links(response, title):
    """The choices of a filter: their text, and where they lead."""
    page = response.content.decode()
    (block,) = re.findall(rf'<details data-filter-title="{title}".*?</details>', page, re.DOTALL)
    return {" ".join(text.split()): (address, "selected" in chosen) for chosen, address, text in re.findall(
        r'<li([^>]*)>\s*<a href="([^"]*)"[^>]*>(.*?)</a>', block, re.DOTALL
    )}  # fmt: skip


def test_what_was_sent_yesterday_and_nobody_received(viewer):
    yesterday = timezone.now() - timedelta(days=1)
    event(zaap_id="IT", message_id="M1", received_at=yesterday)
    event(zaap_id="RECEIVED", message_id="M2", received_at=yesterday)
    status("received", "M2")
    event(zaap_id="TODAY")
    page = viewer.get(EVENTS)
    assert "?situation=sent&amp;received=yesterday" in page.content.decode()
    assert links(page, "situation")["Sent, not yet received"] == ("?situation=sent", False)
    assert links(page, "situation")["Not sent: Temporary failure"] == ("?situation=temporary", False)
    assert found(viewer, situation="sent", received="yesterday") == {"IT"}


@pytest.mark.parametrize(
    "lookup",
    ["phone__regex", "phone__startswith", "phone_digits", "payload__phone", "error__icontains", "account__startswith"],
)
@pytest.mark.parametrize("page", [EVENTS, f"{EVENTS}chart/", f"{EVENTS}export/", REJECTED])
def test_only_declared_filters_are_taken(admin_client, page, lookup):
    event()
    assert admin_client.get(page, {lookup: "5"}).status_code == 400


@pytest.mark.parametrize("url", [EVENTS, REJECTED])
def test_the_parameters_of_every_filter_are_taken(admin_client, url):
    changelist = admin_client.get(url).context["cl"]
    for name in (name for spec in changelist.filter_specs for name in spec.expected_parameters()):
        assert admin_client.get(url, {name: ""}).status_code != 400


NONSENSE = [{"received": "soon"}, {"received_from": "soon"}, {"received_to": "9999-12-31"}, {"situation": "nothing"}]


@pytest.mark.parametrize("query", NONSENSE)
def test_nonsense_in_the_address_leads_back_to_the_list(admin_client, query):
    events(101)
    for nonsense in (query, query | {"p": "77"}):
        assert admin_client.get(EVENTS, nonsense, follow=True).status_code == 200

    for page in ("chart", "export"):
        assert admin_client.get(f"{EVENTS}{page}/", query).status_code == 400


# Time


def test_days_begin_where_the_project_is(viewer, settings):
    settings.TIME_ZONE = "America/Sao_Paulo"
    midnight = datetime.now(SAO_PAULO).replace(hour=0, minute=0, second=0, microsecond=0)
    event(zaap_id="FIRST-OF-TODAY", received_at=midnight)
    event(zaap_id="LAST-OF-YESTERDAY", received_at=midnight - timedelta(microseconds=1))
    event(zaap_id="10-DAYS-AGO", received_at=midnight - timedelta(days=10))
    event(zaap_id="100-DAYS-AGO", received_at=midnight - timedelta(days=100))
    yesterday = str((midnight - timedelta(days=1)).date())
    assert found(viewer, received="today") == {"FIRST-OF-TODAY"}
    assert found(viewer, received="7") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY"}
    assert found(viewer, received="30") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY", "10-DAYS-AGO"}
    assert found(viewer, received_from=yesterday, received_to=yesterday) == {"LAST-OF-YESTERDAY"}
    assert found(viewer, received_to=yesterday) == {"LAST-OF-YESTERDAY", "10-DAYS-AGO", "100-DAYS-AGO"}
    assert found(viewer, received_from=yesterday, received_to="") == {"FIRST-OF-TODAY", "LAST-OF-YESTERDAY"}
    assert "America/Sao_Paulo" in text_of(viewer.get(EVENTS))


def test_days_begin_at_midnight_also_without_time_zones(viewer, settings):
    settings.USE_TZ = False
    now = datetime.now()
    event(zaap_id="NOW", received_at=now)
    event(zaap_id="OLD", received_at=now - timedelta(days=2))
    assert found(viewer, received="today") == {"NOW"}


def test_a_form_of_a_filter_keeps_the_other_filters(viewer):
    event()
    page = viewer.get(EVENTS, {"situation": "sent", "received": "today", "q": "", "p": "1"}).content.decode()
    form = re.search(r'<form id="plugchat-range".*?</form>', page, re.DOTALL)[0]
    assert re.findall(r'name="([^"]*)" value="([^"]*)"', form) == [("situation", "sent"), ("q", "")]
    assert 'form="plugchat-range" type="date" name="received_from"' in page


# Accounts


@pytest.fixture
def many_accounts(plugchat):
    """More than a list has room for: five of them in the north."""
    labels = [f"Norte {number}" for number in range(5)] + [f"Shop {number}" for number in range(30)]
    plugchat(ACCOUNTS={f"a{number}": {"LABEL": label} for number, label in enumerate(labels)})


def test_few_accounts_are_listed(viewer):
    event()
    assert links(viewer.get(EVENTS, {"account": "norte"}), "account") == {
        "All": ("?", False),
        "Loja Centro": ("?account=default", False),
        "norte": ("?account=norte", True),
    }


@pytest.mark.parametrize(
    ("typed", "expected", "listed"),
    [
        ("", {"NORTE-0", "NORTE-1", "GONE"}, ["All"]),
        ("a1", {"NORTE-1"}, ["All", "Norte 1"]),
        (" norte 1 ", {"NORTE-1"}, ["All", "Norte 1"]),
        # Several: a person chooses.
        ("NORTE", set(), ["All", "Norte 0", "Norte 1", "Norte 2", "Norte 3", "Norte 4"]),
        # Not configured any more.
        ("gone", {"GONE"}, ["All"]),
        ("unheard of", set(), ["All"]),
    ],
)
@pytest.mark.usefixtures("many_accounts")
def test_one_of_many_accounts_is_found_by_a_part_of_its_label(viewer, typed, expected, listed):
    for zaap_id, account in (("NORTE-0", "a0"), ("NORTE-1", "a1"), ("GONE", "gone")):
        event(zaap_id=zaap_id, account=account)
    response = viewer.get(EVENTS, {"account": typed})
    assert {row.zaap_id for row in rows_of(response)} == expected
    assert list(links(response, "account")) == listed
    assert ("Which of these?" in text_of(response)) == (len(listed) > 2)


@pytest.mark.usefixtures("many_accounts")
def test_no_more_accounts_are_listed_than_there_is_room_for(viewer):
    event()
    assert len(links(viewer.get(EVENTS, {"account": "shop"}), "account")) == 21


# Nothing found


def test_an_empty_search_says_what_it_can_mean_and_when_plugchat_last_called(viewer, django_assert_num_queries):
    event(received_at=datetime(2026, 1, 2, 15, 4, tzinfo=SAO_PAULO))
    # Session, user, two of permissions, statuses, keys, and one for all the accounts.
    accounts.labels()  # read every 30 seconds
    with django_assert_num_queries(7 + UNCOMPILED):
        response = viewer.get(EVENTS, {"q": "nothing", "situation": "sent"})
    text = text_of(response)
    assert "Loja Centro: 01/02/2026 3:04 p.m." in text
    assert "norte: never" in text
    assert f'href="{REJECTED}"' in response.content.decode()
    assert f'href="{EVENTS}?q=nothing"' in response.content.decode()
    assert "180 days" in text


def test_of_an_account_that_was_chosen_its_own_last_callback_is_told(viewer):
    event(received_at=datetime(2026, 1, 2, 15, 4, tzinfo=SAO_PAULO))
    text = text_of(viewer.get(EVENTS, {"account": "norte"}))
    assert "norte: never" in text
    assert "Loja Centro:" not in text


@pytest.mark.usefixtures("many_accounts")
def test_of_many_accounts_the_last_callback_of_all_is_told(django_assert_num_queries):
    event(account="a3", received_at=datetime(2026, 1, 2, 15, 4, tzinfo=SAO_PAULO))
    viewer_of_events = person("view_deliveryevent")
    accounts.labels()  # read every 30 seconds
    with django_assert_num_queries(6 + UNCOMPILED):
        response = viewer_of_events.get(EVENTS, {"received": "today"})
    assert "All accounts: 01/02/2026 3:04 p.m." in text_of(response)
    assert REJECTED not in response.content.decode()


def test_what_is_kept_for_ever_was_not_deleted(viewer, plugchat):
    plugchat(RETENTION_DAYS=None)
    event()
    assert "was deleted" not in text_of(viewer.get(EVENTS, {"q": "nothing"}))


@pytest.mark.parametrize("accounts", [{}, {"norte": {"WEBHOOK_SECRETS": [SECRET_OF_NORTE]}}])
def test_an_empty_table_says_what_to_do_first(viewer, plugchat, accounts):
    plugchat(ACCOUNTS=accounts)
    text = text_of(viewer.get(EVENTS))
    assert "python manage.py plugchat_set_webhook" in text
    assert ("Configure an account" in text) is not bool(accounts)


# Privacy


def private_event():
    return event(
        phone="5544999998888",
        custom_id="pedido-5544999998888",
        zaap_id="false_120363019502650977@g.us_3EB0_5544988771234@c.us",
        message_id="true_44.99999.8888@c.us",
        instance_id="5544999998888",
        outcome="failed",
        error="no5544999998888: (44) 99999-8888 is not on WhatsApp",
        error_code="44999998888",
        dispatch_error="shop.receivers.tell: No5544999998888",
        payload={"phone": 5544999998888, "note": "11 98765-4321"},
    )


DIGITS = ("99998888", "88771234", "87654321")


def leaks(page):
    """Which of the numbers are on it, however they are written."""
    bare = re.sub(r"[^0-9a-zA-Z<>*]", "", page)
    return [digits for digits in DIGITS if digits in bare]


@pytest.mark.parametrize("page", ["", "{}/change/", "{}/delete/", "{}/history/", "chart/", "export/"])
def test_nothing_free_form_is_shown_to_who_may_not_see_numbers(page):
    private = private_event()
    status("read", private.message_id, phone="120363019502650977-group", participant="5544999998888")
    client = person(*VIEW, "export_deliveryevent", "delete_deliveryevent")
    response = client.get(EVENTS + page.format(private.pk))
    assert response.status_code == 200
    content = response.getvalue().decode()
    assert not leaks(content)
    assert "is not on WhatsApp" not in content


def test_who_may_not_see_numbers_reads_the_texts_that_are_known(viewer):
    known = event(outcome="failed", error="phone number does not exist", error_code="shadow_ban")
    for page in (viewer.get(EVENTS), viewer.get(f"{EVENTS}{known.pk}/change/")):
        assert "Phone number does not exist · SHADOW_BAN" in text_of(page)
        assert "+55 ****99" in text_of(page)


def test_whole_numbers_are_shown_to_who_may_see_them(trusted):
    private = private_event()
    assert "+55 44 99999-8888" in text_of(trusted.get(EVENTS))
    page = trusted.get(f"{EVENTS}{private.pk}/change/")
    assert "is not on WhatsApp" in text_of(page)
    assert "false_120363019502650977@g.us_3EB0_5544988771234@c.us" in text_of(page)


def test_a_long_error_is_cut_before_anything_else_is_done_with_it(trusted, viewer):
    event(outcome="failed", error="+" * 65000, error_code="5" * 65000)
    assert len(trusted.get(EVENTS).content) < 40_000
    assert len(viewer.get(EVENTS).content) < 40_000


# What can be done with rows is in test_admin_actions


def test_all_actions_are_offered_to_who_may_take_them(admin_client, viewer):
    event()
    offered = text_of(admin_client.get(EVENTS))
    for action in ("Export as CSV", "Dispatch again", "Delete selected messages"):
        assert action in offered
        assert action not in text_of(viewer.get(EVENTS))
