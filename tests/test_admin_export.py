"""Events as CSV, the way spreadsheets in Brazil open it."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import tracemalloc
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient
from django.utils import timezone

from django_plugchat import exports
from django_plugchat.exports import csv_lines, guard, guard_id
from django_plugchat.models import DeliveryEvent

from .rows import event, events
from .test_admin import EVENTS, VIEW, logged_in, post_action, text_of

__all__ = ["logged_in"]

EXPORT = f"{EVENTS}export/"
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def read(response):
    content = response.getvalue().decode()
    assert content.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(content[1:], newline=""), delimiter=";"))


@pytest.fixture
def exporter(logged_in):
    return logged_in(*VIEW, "export_deliveryevent", "view_phone")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+55", "'+55"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("Timeout on send message", "Timeout on send message"),
        ("", ""),
    ],
)
def test_no_text_is_run_as_a_formula(text, cell):
    assert guard(text) == cell
    assert guard_id(text) == cell


@pytest.mark.parametrize(
    "text",
    [
        "12E5",
        "1e10",
        "123",
        "00012",
        "5544999999999",
        "1-2",
        "3/4/2026",
        "10:30",
        "1,5",
        "50%",
        "MAR1",
        "2-dez",
        "true",
    ],
)
def test_an_id_stays_the_text_that_it_is(text):
    assert guard_id(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["A20DA9C0183A2D35A260F53F5D2B9244", "order-7", "pedido 12", "123-group", "E-mail 5", ""]
)
def test_what_is_text_already_is_left_alone(text):
    assert guard_id(text) == text


@pytest.mark.django_db
def test_a_row_of_the_file(exporter):
    moment = datetime(2026, 3, 1, 23, 30, tzinfo=SAO_PAULO)
    event(
        received_at=moment,
        zaap_id="12E5",
        custom_id="0007",
        message_id="3EB0",
        instance_id="=cmd",
        outcome="failed",
        error='=HYPERLINK("x"); ção',
        error_code="SHADOW_BAN",
        times_received=2,
        dispatch_status="done",
    )
    response = exporter.get(EXPORT)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="plugchat-')
    assert response.streaming
    assert read(response) == [
        {
            "received at (America/Sao_Paulo)": "01/03/2026 23:30:00",
            "occurred at (America/Sao_Paulo)": "",
            "last received at (America/Sao_Paulo)": "01/03/2026 23:30:00",
            "times received": "2",
            "account": "Loja Centro",
            "phone": "'554499999999",
            "outcome": "Not sent",
            "error": '\'=HYPERLINK("x"); ção',
            "error code": "SHADOW_BAN",
            "customId": "'0007",
            "zaapId": "'12E5",
            "messageId": "3EB0",
            "instanceId": "'=cmd",
            "dispatch status": "Processed",
        }
    ]


@pytest.mark.django_db
def test_numbers_are_masked_for_who_may_not_see_them(logged_in):
    event(custom_id="pedido-554499999999", outcome="failed", error="44 99999-9999 has no WhatsApp")
    (row,) = read(logged_in(*VIEW, "export_deliveryevent").get(EXPORT))
    assert row["phone"] == "'+55 44 ****-9999"
    assert row["customId"] == "pedido-+55 44 ****-9999"
    assert row["error"] == "****9999 has no WhatsApp"


@pytest.mark.django_db
def test_export_needs_its_permission(logged_in):
    row = event()
    viewer = logged_in(*VIEW)
    assert viewer.get(EXPORT).status_code == 403
    assert "Export" not in text_of(viewer.get(EVENTS))
    assert not post_action(viewer, EVENTS, "export_csv", row).streaming


@pytest.mark.django_db
def test_selected_all_or_filtered_rows_are_exported(exporter, caplog):
    rows = events(3, outcome="failed") + events(2)
    assert "Export all as CSV" in text_of(exporter.get(EVENTS))
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        selected = read(post_action(exporter, EVENTS, "export_csv", rows[0], rows[4]))
        across = read(
            post_action(exporter, f"{EVENTS}?outcome__exact=failed", "export_csv", rows[0], select_across="1")
        )
        filtered = read(exporter.get(EXPORT, {"outcome__exact": "failed", "q": "554499999999"}))
    assert {row["zaapId"] for row in selected} == {rows[0].zaap_id, rows[4].zaap_id}
    assert len(across) == len(filtered) == 3
    user = User.objects.get()
    assert [record.getMessage() for record in caplog.records] == [
        f"{user.username} exported {count} delivery events." for count in (2, 3, 3)
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("query", [{"phone__regex": "5"}, {"received": "never"}])
def test_an_export_takes_only_declared_filters(exporter, query):
    assert exporter.get(EXPORT, query).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("same_moment", [True, False])
def test_every_row_is_exported_once_in_batches(exporter, monkeypatch, same_moment):
    monkeypatch.setattr(exports, "BATCH_SIZE", 3)
    start = timezone.now()
    for number in range(8):
        event(received_at=start if same_moment else start - timedelta(seconds=number // 2))
    exported = [row["zaapId"] for row in read(exporter.get(EXPORT))]
    assert exported == list(DeliveryEvent.objects.order_by("-received_at", "-pk").values_list("zaap_id", flat=True))


@pytest.mark.django_db
def test_memory_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.setattr(exports, "BATCH_SIZE", 50)

    def peak():
        tracemalloc.start()
        exported = sum(
            line.count("\r\n") for line in csv_lines(DeliveryEvent.objects.all(), whole_phones=True, username="a")
        )
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return exported, most

    events(100)
    peak()
    few = peak()
    events(1900)
    many = peak()
    assert (few[0], many[0]) == (101, 2001)
    assert many[1] < few[1] * 3


@pytest.mark.django_db
def test_a_broken_off_download_is_logged_too(caplog):
    events(3)
    lines = csv_lines(DeliveryEvent.objects.all(), whole_phones=True, username="ana")
    next(lines)
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        lines.close()
    assert caplog.messages == ["ana exported 0 delivery events."]


@pytest.mark.django_db
def test_without_time_zones_times_are_as_stored(settings):
    settings.USE_TZ = False
    event(received_at=datetime(2026, 3, 1, 23, 30))
    lines = "".join(csv_lines(DeliveryEvent.objects.all(), whole_phones=True, username="ana"))
    assert "\r\n01/03/2026 23:30:00;" in lines


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_server_streams_too():
    User.objects.create_superuser("root")
    events(3)

    async def download():
        client = AsyncClient()
        await client.aforce_login(await User.objects.aget())
        response = await client.get(EXPORT)
        assert response.is_async
        chunks = [chunk async for chunk in response]
        await sync_to_async(connections.close_all)()
        return chunks

    header, rows = asyncio.run(download())
    assert header.decode().startswith("\ufeff")
    assert rows.decode().count("\r\n") == 3
