"""The page of one message: its story, what it is found by, and what developers need."""

import html
import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.template import Context, Engine, RequestContext, Template
from django.test import RequestFactory
from django.utils import timezone

from django_plugchat import story
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import ERRORS_BY_KIND, Failure

from .people import EVENTS, person, text_of
from .rows import event, events, status

pytestmark = pytest.mark.django_db

NOW = timezone.now() - timedelta(days=30)
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def at(minutes):
    return NOW + timedelta(minutes=minutes)


def open_page(client, row):
    response = client.get(f"{EVENTS}{row.pk}/change/")
    assert response.status_code == 200
    return response


def steps(response):
    return response.context["story"].steps


def outcomes(response):
    return [step.outcome for step in steps(response)]


# The story


def test_it_reads_from_top_to_bottom(trusted):
    opened = event(message_id="M1", phone="5544999999999", received_at=at(0), occurred_at=at(0))
    status("sent", "M1", received_at=at(0), occurred_at=at(0) + timedelta(seconds=1))
    status("received", "M1", received_at=at(9), occurred_at=at(0) + timedelta(seconds=3))
    read = status("read", "M1", received_at=at(71), occurred_at=at(71))
    event(zaap_id=opened.zaap_id, account="norte")
    for row in (opened, read):
        response = open_page(trusted, row)
        # Sent is said twice, and one step.
        assert outcomes(response) == ["sent", "received", "read"]
        text = text_of(response)
        assert text.count(" later ") == 2
        assert " 3 s later " in text
        assert " 1 hour, 10 minutes later " in text
        assert "Message to +55 44 99999-9999" in text
        assert "saw the message" in text
        assert f"{NOW:%M:%S}" in text
        assert text.count("PlugChat told it later") == 1


def test_all_tries_of_a_message_are_one_story(viewer):
    failed = event(zaap_id="SAME", outcome="failed", error="Timeout on send message", received_at=at(0))
    event(zaap_id="SAME", message_id="M1", custom_id="order-7", received_at=at(5))
    received = status("received", "M1", received_at=at(6))
    for row in (failed, received):
        response = open_page(viewer, row)
        assert outcomes(response) == ["failed", "sent", "received"]
        text = text_of(response)
        assert "went out after all" in text
        assert "order-7" in text
        assert "Was it tried again?" not in text


def test_a_status_without_its_delivery_callback_stands_alone(viewer):
    response = open_page(viewer, status("received", "LOST"))
    assert outcomes(response) == ["received"]
    assert "zaapId" not in text_of(response)


def test_a_row_without_ids_stands_alone(viewer):
    assert outcomes(open_page(viewer, event(zaap_id=""))) == ["sent"]


def test_what_was_sent_is_not_called_received(viewer):
    assert "Whether the contact received it, PlugChat has not said" in text_of(open_page(viewer, event()))


@pytest.mark.parametrize(
    ("kind", "advice"),
    {
        "number": "This number has no WhatsApp, or is not a whole number. What to do: Check the country",
        "restricted": "does not let this sender write. What to do: In a group",
        "temporary": "did not answer in time. What to do: The message may have gone out",
        "media": "could not use the file, or could not fetch it from its link. What to do: Open the link",
        "request": "is not possible. What to do: The code that sends has to change",
        "other": "is not known here. What to do: Ask PlugChat's support",
    }.items(),
)
def test_every_kind_of_failure_says_what_it_means_and_what_to_do(viewer, kind, advice):
    error = ERRORS_BY_KIND.get(kind, ("Never heard of",))[0]
    response = open_page(viewer, event(outcome="failed", error=error))
    assert outcomes(response) == ["failed"]
    text = text_of(response)
    assert f"{Failure(kind).label}. " in text
    assert advice in text
    # Words that are not known may hold anything.
    assert (error in text) == (kind != "other")


def test_an_outcome_and_a_failure_of_a_later_version_are_shown_as_they_are(viewer):
    event(zaap_id="SAME", outcome="failed", failure="unheard")
    text = text_of(open_page(viewer, event(zaap_id="SAME", outcome="edited")))
    assert "edited" in text
    assert "What to do" not in text


def test_a_group_is_summed_up(trusted):
    group = "120363019502650977-group"
    sent = event(message_id="M1", phone=group, received_at=at(0))
    for number in range(3):
        status("received", "M1", phone=group, participant=f"551199999000{number}", received_at=at(1 + number))
    hers = status("read", "M1", phone=group, participant="5511999990002", received_at=at(7))
    # Out of order: it does not take her back.
    status("sent", "M1", phone=group, participant="5511999990002", received_at=at(9))
    response = open_page(trusted, sent)
    assert outcomes(response) == ["sent", "received", "read"]
    text = text_of(response)
    assert "3 participants of the group" in text
    assert "1 participant of the group" in text
    assert f"The last: {timezone.localtime(at(3)):%m/%d/%Y %H:%M:%S} " in text
    phones = [phone for phone, _outcome, _moment in response.context["participants"]]
    assert phones == ["+55 11 99999-0000", "+55 11 99999-0001", "+55 11 99999-0002"]
    # Of her own status, she comes first.
    assert open_page(trusted, hers).context["participants"][0][:2] == ("+55 11 99999-0002", "read")


def test_a_group_takes_as_many_queries_as_one_contact(viewer, django_assert_max_num_queries):
    sent = event(message_id="M1", phone="120363019502650977-group")
    for number in range(5):
        status("received", "M1", phone="120363019502650977-group", participant=f"551199999000{number}")
    open_page(viewer, sent)  # reads the accounts' labels, as every 30 seconds
    with django_assert_max_num_queries(12):
        response = open_page(viewer, sent)
    assert len(response.context["participants"]) == 5
    assert "5 participants of the group" in text_of(response)


def test_a_long_story_is_cut(viewer, monkeypatch):
    monkeypatch.setattr(story, "MAX_EVENTS", 4)
    told = events(6, zaap_id="SAME", received_at=at(0))
    assert "more about this message than is shown" in text_of(open_page(viewer, told[0]))


@pytest.mark.parametrize("who", ["trusted", "viewer"])
def test_the_order_of_participants_tells_nothing_of_hidden_numbers(request, who):
    """In the order of the whole numbers their first digits could be guessed."""
    group = "120363019502650977-group"
    for minutes, number in enumerate([3, 1, 2]):
        participant = f"55119888877{number}{number}"
        row = status("read", "M1", phone=group, participant=participant, received_at=at(minutes), occurred_at=None)
    other = status("read", "M1", phone=group, received_at=at(9))
    shown = open_page(request.getfixturevalue(who), other).context["participants"]
    assert [int(phone[-1]) for phone, *_others in shown] == [3, 1, 2]
    # Whose status it is comes first all the same.
    assert open_page(request.getfixturevalue(who), row).context["participants"][0][0].endswith("2")


# What the project's code did with it


def test_what_failed_in_the_projects_code_is_said_at_the_top(viewer):
    sent = event(message_id="M1", dispatch_status="done")
    status("received", "M1", dispatch_status="exhausted", dispatch_attempts=5, dispatch_failed=True)
    error = "shop.receivers.heard: ValueError"
    read = status(
        "read", "M1", dispatch_status="retrying", dispatch_attempts=1, dispatch_due_at=at(5), dispatch_error=error
    )
    text = text_of(open_page(viewer, sent))
    assert "Your system failed to take in “Received”. Given up after 5 attempts" in text
    assert "Your system has not taken in “Read” yet. Attempt 1 of 5 failed." in text
    assert text.index("Your system failed") < text.index("History of this message")
    assert error in text_of(open_page(viewer, read))


def test_a_site_without_receivers_has_nothing_to_say_about_them(viewer):
    assert open_page(viewer, event(dispatch_status="none")).context["not_taken"] == []


# Its name and its deletion


def test_it_is_called_by_its_masked_number_and_how_far_it_has_come():
    client = person("view_deliveryevent", "delete_deliveryevent", "view_phone")
    sent = event(message_id="M1", phone="5544999999999")
    status("read", "M1")
    for page in ("change", "delete", "history"):
        text = text_of(client.get(f"{EVENTS}{sent.pk}/{page}/"))
        assert "+55 ****99 (Read)" in text
        assert "(Sent)" not in text or page == "delete"


def test_nobody_changes_a_message_so_there_is_no_history_of_changes(viewer):
    row = event()
    assert f"{EVENTS}{row.pk}/history/" not in open_page(viewer, row).content.decode()


def test_deleting_it_deletes_all_that_was_said_about_it():
    client = person("view_deliveryevent", "delete_deliveryevent")
    event(zaap_id="SAME", outcome="failed", error="Timeout on send message")
    event(zaap_id="SAME", message_id="M1")
    read = status("read", "M1")
    others = {event().pk, status("read", "M1", account="norte").pk}
    url = f"{EVENTS}{read.pk}/delete/"
    text = text_of(client.get(url))
    assert "The whole message is deleted" in text
    assert "3" in text[text.index("Summary") :]
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert set(DeliveryEvent.objects.values_list("pk", flat=True)) == others
    (entry,) = LogEntry.objects.all()
    assert entry.object_repr == "+55 ****99 (Read)"


# Whether it was tried again


def others(response):
    found = re.findall(r'/(\d+)/change/">.*</a>\s*([^<]*)</li>', response.content.decode())
    return [(int(pk), why) for pk, why in found]


def test_a_failed_message_says_where_it_was_tried_again(viewer):
    failed = event(custom_id="order-7", outcome="failed", error="Timeout on send message", received_at=at(0))
    first = event(custom_id="order-7", received_at=at(-60))
    by_id = event(custom_id="order-7", phone="5511988887777", message_id="M1", received_at=at(10))
    status("read", "M1", received_at=at(11))
    by_number = event(phone="5544999999999", phone_digits=failed.phone_digits, received_at=at(20))
    event(received_at=at(-5))
    event(received_at=at(60 * 24 * 8))
    event(custom_id="order-7", account="norte", received_at=at(10))
    event(zaap_id=failed.zaap_id, outcome="failed", error="Error on send message", received_at=at(1))
    response = open_page(viewer, failed)
    assert others(response) == [
        (first.pk, "earlier, with the same customId"),
        (by_id.pk, "later, with the same customId"),
        (by_number.pk, "later, to the same number"),
    ]
    assert "✓✓ Read" in text_of(response)
    assert "Was it tried again?" in text_of(response)


def test_a_failed_message_says_that_it_was_not_tried_again(viewer):
    failed = event(outcome="failed", phone="", error="Timeout on send message")
    assert "has not told of another message" in text_of(open_page(viewer, failed))


def test_of_a_message_that_arrived_only_those_of_its_customid_are_named(viewer):
    sent = event(custom_id="order-7", received_at=at(0))
    again = event(custom_id="order-7", received_at=at(9))
    event(received_at=at(5))
    response = open_page(viewer, sent)
    assert others(response) == [(again.pk, "later, with the same customId")]
    assert "Other messages with this customId" in text_of(response)


def test_no_more_others_are_named_than_help(viewer):
    failed = event(outcome="failed", error="Timeout on send message", received_at=at(0))
    later = [event(received_at=at(minutes)) for minutes in range(1, 9)]
    assert [pk for pk, _why in others(open_page(viewer, failed))] == [row.pk for row in later[:5]]


# On other pages


def told_on_a_page(client, *ids, **fields):
    """What the tag says to somebody who reads a page of the project."""
    request = RequestFactory().get("/")
    request.user = client and User.objects.get(pk=client.session["_auth_user_id"])
    page = Template("{% load plugchat %}{% plugchat_story zaap_id message_id account=account %}")
    values = dict(zip(("zaap_id", "message_id"), ids, strict=False)) | {"account": None} | fields
    return text_of(HttpResponse(page.render(RequestContext(request, values) if client else Context(values))))


def test_a_page_of_the_project_tells_the_same_story(trusted, viewer):
    event(zaap_id="Z1", message_id="M1", outcome="failed", error="<b>5544988887777</b>")
    status("read", "M1")
    event(zaap_id="Z1", account="norte", outcome="failed", error="Timeout on send message")
    for ids in (("Z1", "M1"), ("Z1", ""), (None, "M1")):
        text = told_on_a_page(trusted, *ids, account="default")
        assert "✓✓ Read" in text
        assert "<b>5544988887777</b>" in text
        assert "Timeout" not in text
        # Neither to whoever may not see numbers, nor where nobody is known.
        for client in (viewer, None):
            assert "88887777" not in told_on_a_page(client, *ids)
    assert "Timeout" in told_on_a_page(viewer, "Z1", "", account="norte")


@pytest.mark.parametrize("ids", [("", ""), (None, None), (" ", "\0"), ("NEVER", "HEARD")])
def test_of_an_unknown_message_nothing_is_told(viewer, ids):
    event(message_id="")
    assert told_on_a_page(viewer, *ids) == "PlugChat has not said anything about this message."


def test_only_the_accounts_that_somebody_sees_are_told_of(viewer, plugchat):
    event(zaap_id="Z1")
    plugchat(ADMIN_ACCOUNTS="tests.test_admin_message.only_norte")
    for client in (viewer, None):
        assert "has not said anything" in told_on_a_page(client, "Z1", "")
    event(zaap_id="Z1", account="norte")
    assert "✓ Sent" in told_on_a_page(viewer, "Z1", "")


@pytest.mark.parametrize("page", ["docs/howto/story.md", "docs/pt-br/howto/story.md"])
def test_the_how_to_page_shows_what_works(page):
    event(zaap_id="Z1")
    order = {"zaap_id": "Z1", "message_id": ""}
    text = (Path(__file__).parent.parent / page).read_text()
    base = "{% block extrastyle %}{% endblock %}{% block after_field_sets %}{% endblock %}"
    loaders = [("django.template.loaders.locmem.Loader", {"admin/change_form.html": base})]
    loaders.append("django.template.loaders.app_directories.Loader")
    libraries = {name: f"django.templatetags.{name}" for name in ("i18n", "static")}
    engine = Engine(loaders=loaders, libraries=libraries | {"plugchat": "django_plugchat.templatetags.plugchat"})
    for block in re.findall(r"^```django\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        page = engine.from_string(block).render(Context({"order": order, "original": order}))
        assert "✓</span> Sent" in page
        assert finders.find("django_plugchat/admin.css")


def only_norte(user):
    return "norte"


# Ids


def test_each_id_can_be_copied(trusted):
    row = event(zaap_id="Z1", message_id="M1", custom_id="order-7", instance_id="I1", phone="5544999999999")
    page = open_page(trusted, row).content.decode()
    buttons = re.findall(r'<code>([^<]*)</code> <button type="button"[^>]*hidden aria-label="([^"]*)"', page)
    assert buttons == [
        ("Z1", "Copy zaapId"),
        ("M1", "Copy messageId"),
        ("order-7", "Copy customId"),
        ("I1", "Copy instanceId"),
        ("5544999999999", "Copy phone"),
    ]
    assert "django_plugchat/copy.js" in page
    assert not re.search(r"<script(?![^>]* src=)[^>]*>", page)


def test_what_is_masked_can_not_be_copied(viewer):
    page = open_page(viewer, event(zaap_id="Z1", custom_id="pedido-5544999999999")).content.decode()
    assert re.findall(r'aria-label="(Copy[^"]*)"', page) == ["Copy zaapId"]


# What developers need


def test_the_payload_is_readable_and_harmless(trusted):
    attack = {"name": "<script>alert(1)</script>", "list": [1.5, "ção"]}
    page = open_page(trusted, event(payload=attack)).content.decode()
    assert "<script>alert" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert "ção" in page
    assert "1.5" in page
    assert "\n  &quot;list&quot;: [" in page


def test_moments_are_written_as_on_other_pages(viewer):
    page = open_page(viewer, event(received_at=datetime(2026, 3, 1, 23, 30, tzinfo=SAO_PAULO)))
    assert "Received at 03/01/2026 11:30 p.m. " in text_of(page)


def test_dispatch_again_is_offered_to_who_may(viewer):
    row = event()
    assert "Dispatch again" not in text_of(open_page(viewer, row))
    page = open_page(person("view_deliveryevent", "redispatch_deliveryevent"), row).content.decode()
    assert 'form="plugchat-redispatch"' in page
    assert f'name="_selected_action" value="{row.pk}"' in page
