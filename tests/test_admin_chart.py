"""The chart: sent and failed over time, and why messages were not sent."""

import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from django_plugchat import times
from django_plugchat.admin import chart as charts
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import ERRORS_BY_KIND

from .people import EVENTS, text_of
from .rows import event, events, status
from .test_admin import UNCOMPILED

pytestmark = pytest.mark.django_db

CHART = f"{EVENTS}chart/"
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def drawn_for(client, **query):
    response = client.get(CHART, query)
    assert response.status_code == 200
    return response.context["chart"]


def numbers(client, **query):
    drawn = drawn_for(client, **query)
    return {label: dict(bar) for label, bar in zip(drawn.labels, drawn.bars, strict=True) if bar}


def test_the_list_links_to_it_and_needs_no_frame(viewer):
    event()
    page = viewer.get(EVENTS, {"situation": "sent", "account": "default"})
    assert f'href="{CHART}?account=default"' in page.content.decode()
    assert b"<iframe" not in page.content
    assert viewer.get(CHART)["X-Frame-Options"] == "DENY"


@pytest.fixture(autouse=True)
def clickjacking_middleware(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.clickjacking.XFrameOptionsMiddleware"]


@pytest.mark.parametrize(("language", "label"), [("en", "03/09/2026"), ("pt-br", "09/03/2026")])
def test_days_are_written_as_in_the_list(viewer, language, label):
    """Not as "9 de Março": Django's months have a capital in Portuguese."""
    response = viewer.get(CHART, {"received_to": "2026-03-09"}, headers={"accept-language": language})
    assert response.context["chart"].labels[-1] == label


def test_thirty_days_are_counted_by_day(viewer):
    today = times.start_of(timezone.localdate())
    events(3, received_at=today)
    events(2, received_at=today - timedelta(seconds=1), outcome="failed")
    event(received_at=today - timedelta(days=29))
    event(received_at=today - timedelta(days=29, seconds=1))
    drawn = drawn_for(viewer)
    assert len(drawn.bars) == 30
    counts = [dict(bar) for bar in (drawn.bars[0], drawn.bars[-2], drawn.bars[-1])]
    assert counts == [{"sent": 1}, {"failed": 2}, {"sent": 3}]
    assert (drawn.counts, drawn.highest) == ({"sent": 4, "failed": 2}, 3)


def test_one_day_is_counted_by_hour(viewer):
    day = {"received_from": "2026-03-10", "received_to": "2026-03-10"}
    event(received_at=datetime(2026, 3, 10, 0, 0, tzinfo=SAO_PAULO))
    event(received_at=datetime(2026, 3, 10, 14, 59, tzinfo=SAO_PAULO), outcome="failed")
    event(received_at=datetime(2026, 3, 11, 0, 0, tzinfo=SAO_PAULO))
    assert numbers(viewer, **day) == {"00:00": {"sent": 1}, "14:00": {"failed": 1}}
    assert "by hour (America/Sao_Paulo)" in text_of(viewer.get(CHART, day))


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 6, 1), 24)])
def test_a_day_on_which_clocks_change_has_all_its_hours(settings, day, hours):
    settings.TIME_ZONE = "America/New_York"
    start = times.start_of(day).astimezone(UTC)
    for number in range(-1, hours + 1):
        event(received_at=start + timedelta(hours=number, minutes=59))
    drawn = charts.Chart(DeliveryEvent.objects.all(), since=day, until=day)
    assert drawn.counts == {"sent": hours}
    assert drawn.bars[0] == drawn.bars[-1] == {"sent": 1}


def test_each_message_is_counted_by_how_far_it_has_come(viewer):
    event(message_id="M1")
    for told in ("sent", "received", "read"):
        status(told, "M1")
    event(message_id="M2")
    status("played", "M2")
    event(outcome="failed", error="Unsupported sticker format: x not available to channels")
    status("read", "its delivery callback was lost")
    assert drawn_for(viewer).counts == {"read": 1, "played": 1, "failed": 1}
    assert drawn_for(viewer, situation="read").counts == {"read": 1}
    assert "by how far it has come" in text_of(viewer.get(CHART))


def test_of_many_messages_the_callbacks_are_counted(viewer, monkeypatch):
    """That takes an index alone, whatever their number."""
    monkeypatch.setattr(charts, "MAX_MESSAGES_READ", 2)
    monkeypatch.setattr(charts.SituationFilter, "most_read", 2)
    day = {"received_from": "2026-03-10", "received_to": "2026-03-10"}
    hours = [datetime(2026, 3, 10, hour, 30, tzinfo=SAO_PAULO) for hour in (9, 14, 14)]
    event(message_id="M1", received_at=hours[0])
    status("read", "M1", received_at=hours[0])
    event(received_at=hours[1])
    assert numbers(viewer, **day) == {"09:00": {"read": 1}, "14:00": {"sent": 1}}
    event(received_at=hours[2], outcome="failed", error="Phone number does not exist")
    assert numbers(viewer, **day) == {"09:00": {"sent": 1}, "14:00": {"sent": 1, "failed": 1}}
    response = viewer.get(CHART, day)
    assert "more than 2 messages" in text_of(response)
    assert "Read" not in text_of(response)
    assert [count for _label, count, _query in response.context["failures"]] == [1]


def test_it_follows_filters_and_search_and_says_so(viewer):
    now = timezone.now()
    event(account="norte", zaap_id="IT", received_at=now)
    event(received_at=now)
    assert drawn_for(viewer, account="norte").counts == {"sent": 1}
    assert drawn_for(viewer, q="IT").counts == {"sent": 1}
    assert drawn_for(viewer, situation="failed").counts == {}
    text = text_of(viewer.get(CHART, {"account": "norte", "q": "IT"}))
    assert "Account: norte" in text
    assert "Search: IT" in text
    assert "Account: norte" not in text_of(viewer.get(CHART))


def test_another_period_is_a_link_that_keeps_the_filters(viewer):
    page = viewer.get(CHART, {"account": "norte", "received": "7"}).content.decode()
    assert re.search(r'<a href="\?account=norte&amp;received=7" aria-current="true">', page)
    assert 'href="?account=norte&amp;received=today"' in page
    assert f'href="{EVENTS}?account=norte&amp;received=7"' in page


def test_of_a_long_range_the_last_days_are_drawn(viewer):
    drawn = drawn_for(viewer, received_from="2026-01-01", received_to="2026-06-30")
    assert (drawn.first, drawn.last) == (date(2026, 6, 1), date(2026, 6, 30))


def test_the_range_that_is_drawn_is_marked(viewer):
    def marked(**query):
        return re.findall(r'<(?:a|span)[^>]* aria-current="true">(.*?)<', viewer.get(CHART, query).content.decode())

    assert marked() == ["Last 30 days"]
    assert marked(received="7") == ["Last 7 days"]
    assert marked(received_from="2026-03-09", received_to="2026-03-10") == ["03/09/2026 to 03/10/2026"]


def test_a_range_that_ends_in_the_future_is_drawn_to_today(viewer):
    event()
    today = timezone.localdate()
    drawn = drawn_for(viewer, received_from=str(today - timedelta(days=2)), received_to=str(today + timedelta(days=9)))
    assert (len(drawn.bars), drawn.last) == (3, today)
    assert drawn.counts == {"sent": 1}
    later = str(today + timedelta(days=9))
    assert "Nothing in this time." in text_of(viewer.get(CHART, {"received_from": later}))


def test_failures_are_counted_by_kind_the_commonest_first(viewer):
    for texts in ERRORS_BY_KIND.values():
        event(outcome="failed", error=texts[0])
    events(2, outcome="failed", error="something else")
    events(3, outcome="failed", error="whatever", error_code="SHADOW_BAN")
    events(5)
    response = viewer.get(CHART, {"account": "default"})
    counts = dict(response.context["chart"].failures.most_common())
    assert counts == {"restricted": 4, "other": 2, "number": 1, "temporary": 1, "media": 1, "request": 1}
    assert list(counts)[:2] == ["restricted", "other"]
    assert f'href="{EVENTS}?account=default&amp;situation=restricted"' in response.content.decode()
    assert "(66.7%)" in text_of(response)


def test_of_a_message_that_was_tried_again_each_row_is_counted_and_only_the_failure_has_a_kind(viewer):
    event(zaap_id="SAME", outcome="failed", error="Timeout on send message")
    event(zaap_id="SAME", message_id="M1")
    response = viewer.get(CHART)
    assert response.context["chart"].counts == {"failed": 2}
    assert [count for _label, count, _query in response.context["failures"]] == [1]


def test_a_failure_of_a_later_version_is_counted_under_its_name(viewer):
    event(outcome="failed", failure="unheard")
    assert "unheard 1" in text_of(viewer.get(CHART))


def test_one_statement_counts_it(viewer, django_assert_num_queries):
    events(3)
    viewer.get(CHART)  # reads the accounts' labels, as every 30 seconds
    event(outcome="failed")
    # Session, user, two of permissions, whether they are too many, and one.
    with django_assert_num_queries(6 + UNCOMPILED):
        viewer.get(CHART)


def test_the_drawing_is_complete_and_can_be_read_aloud(viewer, settings):
    settings.LANGUAGE_CODE = "pt-br"
    settings.USE_THOUSAND_SEPARATOR = True
    events(1200)
    events(1, outcome="failed")
    page = viewer.get(CHART).content.decode()
    svg = ElementTree.fromstring(re.search(r"<svg role.*?</svg>", page, re.DOTALL)[0])
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "plugchat-title plugchat-desc"
    assert svg.find("title").text
    assert "1200" in svg.find("desc").text
    heights = [int(bar.get("height")) for bar in svg.iter("rect") if bar.get("fill")]
    assert heights == [12]
    assert page.count('<th scope="row">') == 31


def test_without_time_zones_the_chart_is_of_the_clock_on_the_wall(viewer, settings):
    settings.USE_TZ = False
    event(received_at=datetime(2026, 3, 10, 14, 59))
    assert numbers(viewer, received_from="2026-03-10", received_to="2026-03-10") == {"14:00": {"sent": 1}}
