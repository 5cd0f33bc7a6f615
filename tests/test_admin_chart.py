"""The chart above the list: sent and failed over time, and the commonest errors."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from django_plugchat.charts import chart, start_of
from django_plugchat.models import DeliveryEvent

from .rows import event, events
from .test_admin import EVENTS, VIEW, logged_in, text_of

__all__ = ["logged_in"]

pytestmark = pytest.mark.django_db

CHART = f"{EVENTS}chart/"
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


@pytest.fixture
def viewer(logged_in):
    return logged_in(*VIEW)


def numbers(client, **query):
    drawn = client.get(CHART, query).context["chart"]
    return {bar.label: (bar.sent, bar.failed) for bar in drawn.bars if bar.sent or bar.failed}


def test_the_list_shows_the_chart_in_a_frame_that_it_does_not_wait_for(viewer):
    event()
    page = viewer.get(EVENTS, {"outcome__exact": "sent"})
    frame = re.search(r"<iframe[^>]*>", page.content.decode())[0]
    assert 'loading="lazy"' in frame
    assert f'src="{CHART}?outcome__exact=sent"' in frame
    assert viewer.get(CHART)["X-Frame-Options"] == "SAMEORIGIN"


def test_thirty_days_are_counted_by_day(viewer):
    today = start_of(timezone.localdate())
    events(3, received_at=today)
    events(2, received_at=today - timedelta(seconds=1), outcome="failed")
    event(received_at=today - timedelta(days=29))
    event(received_at=today - timedelta(days=29, seconds=1))
    drawn = viewer.get(CHART).context["chart"]
    assert len(drawn.bars) == 30
    assert [(bar.sent, bar.failed) for bar in (drawn.bars[0], drawn.bars[-2], drawn.bars[-1])] == [
        (1, 0),
        (0, 2),
        (3, 0),
    ]
    assert (drawn.sent, drawn.failed, drawn.highest) == (4, 2, 3)


def test_one_day_is_counted_by_hour(viewer):
    day = {"received_from": "2026-03-10", "received_to": "2026-03-10"}
    event(received_at=datetime(2026, 3, 10, 0, 0, tzinfo=SAO_PAULO))
    event(received_at=datetime(2026, 3, 10, 14, 59, tzinfo=SAO_PAULO), outcome="failed")
    event(received_at=datetime(2026, 3, 11, 0, 0, tzinfo=SAO_PAULO))
    assert numbers(viewer, **day) == {"00:00": (1, 0), "14:00": (0, 1)}
    assert "by hour (America/Sao_Paulo)" in text_of(viewer.get(CHART, day))


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 6, 1), 24)])
def test_a_day_on_which_clocks_change_has_all_its_hours(settings, day, hours):
    settings.TIME_ZONE = "America/New_York"
    end = start_of(day + timedelta(days=1))
    event(received_at=end.astimezone(UTC) - timedelta(minutes=1))
    drawn = chart(DeliveryEvent.objects.all(), since=day, until=day)
    assert len(drawn.bars) == hours
    assert drawn.bars[-1].sent == 1


def test_the_chart_follows_filters_and_search(viewer):
    now = timezone.now()
    event(account="norte", zaap_id="IT", received_at=now)
    event(received_at=now)
    assert viewer.get(CHART, {"account": "norte"}).context["chart"].sent == 1
    assert viewer.get(CHART, {"q": "IT"}).context["chart"].sent == 1
    assert viewer.get(CHART, {"outcome__exact": "failed"}).context["chart"].sent == 0


def test_of_a_long_range_the_last_days_are_drawn(viewer):
    drawn = viewer.get(CHART, {"received_from": "2026-01-01", "received_to": "2026-06-30"}).context["chart"]
    assert (drawn.first, drawn.last) == (date(2026, 6, 1), date(2026, 6, 30))


def test_a_range_in_the_future_is_empty(viewer):
    day = str(timezone.localdate() + timedelta(days=9))
    assert "Nothing in this time." in text_of(viewer.get(CHART, {"received_from": day}))


def test_commonest_errors_come_first(viewer):
    for number in range(7):
        events(number + 1, outcome="failed", error=f"Error {number}", error_code="SHADOW_BAN" if number == 6 else "")
    errors = viewer.get(CHART).context["chart"].errors
    assert [error["text"] for error in errors] == ["Error 6 · SHADOW_BAN", "Error 5", "Error 4", "Error 3", "Error 2"]


def test_the_drawing_is_complete_and_can_be_read_aloud(viewer, settings):
    settings.LANGUAGE_CODE = "pt-br"
    settings.USE_THOUSAND_SEPARATOR = True
    events(1200)
    events(1, outcome="failed")
    page = viewer.get(CHART).content.decode()
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", page, re.DOTALL)[0])
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "plugchat-title plugchat-desc"
    assert svg.find("title").text
    assert "1200" in svg.find("desc").text
    heights = [int(bar.get("height")) for bar in svg.iter("rect") if bar.get("fill")]
    assert heights == [12]
    assert page.count('<th scope="row">') == 30
    scripts = re.findall(r"<script[^>]*>", page)
    assert len(scripts) == 1
    assert "admin/js/theme.js" in scripts[0]
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_without_time_zones_the_chart_is_of_the_clock_on_the_wall(viewer, settings):
    settings.USE_TZ = False
    event(received_at=datetime(2026, 3, 10, 14, 59))
    assert numbers(viewer, received_from="2026-03-10", received_to="2026-03-10") == {"14:00": (1, 0)}
