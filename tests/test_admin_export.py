"""Events as CSV, the way spreadsheets in Brazil open it."""

import asyncio
import csv
import io
import logging
import re
import tracemalloc
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient
from django.utils import timezone
from django.utils.translation import gettext_lazy

from django_plugchat.admin import export
from django_plugchat.admin.export import Lines, guard
from django_plugchat.models import DeliveryEvent

from .people import EVENTS, person, select, text_of
from .rows import event, events, status

pytestmark = pytest.mark.django_db

EXPORT = f"{EVENTS}export/"

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
VIEW = ("view_deliveryevent", "view_rejectedcallback")


def content_of(response):
    content = response.getvalue().decode()
    assert content.startswith("\ufeff")
    return content[1:]


def read(response):
    return list(csv.DictReader(io.StringIO(content_of(response), newline=""), delimiter=";"))


@pytest.fixture
def exporter():
    return person(*VIEW, "export_deliveryevent", "view_phone")


# What a spreadsheet makes of a cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+55", "'+55"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        (" =1", " '=1"),
        ("\uff1d1", "'\uff1d1"),
        ("x;=1;y", "x;'=1;y"),
        ("x\r=1", "x\r'=1"),
        ('x,"=1"', 'x,"\'=1"'),
        ("a=b, 1-2", "a=b, 1-2"),
    ],
)
def test_no_text_is_run_as_a_formula(text, cell):
    assert guard(text) == cell


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "hostile", ["x{}=cmd|A0{}y", '"{}=1', "{} {}@A1", '{}""=1', "\n=1", "a{}\n+1", "='{}", '"\n"=1']
)
def test_no_cell_begins_a_formula_whatever_the_line_is_cut_at(separator, hostile):
    text = hostile.replace("{}", separator)
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerow([guard("=first"), guard(text), "last"])
    delimiter = ";" if separator == "|" else separator
    for reader in (csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=delimiter), _cut(file, delimiter)):
        for row in reader:
            for cell in row:
                assert not re.match(r'[\s"]*[=+\-@]', cell), cell


def _cut(file, delimiter):
    """As a program does that knows no quotes."""
    return [line.split(delimiter) for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("text", ["12E5", "1e10", "123", "00012", "5544999999999", "1-2", "3/4/2026", "10:30", "1,5",
    "50%", "MAR1", "2-dez", "true"])  # fmt: skip
def test_an_id_stays_the_text_that_it_is(text):
    assert guard(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["A20DA9C0183A2D35A260F53F5D2B9244", "order-7", "pedido 12", "123-group", "E-mail 5", ""]
)
def test_what_is_text_already_is_left_alone(text):
    assert guard(text) == text


# The file


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
    )
    response = exporter.get(EXPORT)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="plugchat-')
    assert "no-store" in response["Cache-Control"]
    assert response.streaming
    assert read(response) == [
        {
            "time (America/Sao_Paulo)": "01/03/2026 23:30:00",
            "received by the contact (America/Sao_Paulo)": "",
            "read (America/Sao_Paulo)": "",
            "account": "Loja Centro",
            "phone": "'554499999999",
            "situation": "Not sent",
            "why it was not sent": "WhatsApp restricts the sender",
            "error": '\'=HYPERLINK("x"); ção',
            "error code": "SHADOW_BAN",
            "customId": "'0007",
            "zaapId": "'12E5",
            "messageId": "3EB0",
            "instanceId": "'=cmd",
        }
    ]


def test_the_file_says_how_far_and_when(exporter, plugchat):
    plugchat(ACCOUNTS={"default": {"LABEL": gettext_lazy("Home")}})
    moments = [datetime(2026, 3, day, 23, 30, tzinfo=SAO_PAULO) for day in (1, 2, 3)]
    event(message_id="M1", received_at=moments[0])
    status("received", "M1", received_at=moments[1])
    status("read", "M1", received_at=moments[2])
    (line,) = read(exporter.get(EXPORT, headers={"accept-language": "pt-br"}))
    # The label is lazy: in the language of its reader, and no error.
    assert list(line.values())[:6] == [
        "01/03/2026 23:30:00", "02/03/2026 23:30:00", "03/03/2026 23:30:00", "Início", "'554499999999", "Lida"
    ]  # fmt: skip


def test_nothing_free_form_is_exported_for_who_may_not_see_numbers():
    event(custom_id="pedido-554499999999", outcome="failed", error="44 99999-9999 has no WhatsApp")
    event(outcome="failed", error="TIMEOUT on send message.", error_code="5544999999999")
    client = person(*VIEW, "export_deliveryevent")
    event()
    sent, known, unknown = read(client.get(EXPORT))
    assert (unknown["phone"], unknown["customId"], unknown["error"]) == ("'+55 ****99", "pedido-****", "")
    assert unknown["why it was not sent"] == "Unknown error"
    assert (known["error"], known["error code"]) == ("Timeout on send message", "")
    assert (sent["error"], sent["error code"]) == ("", "")


def test_an_outcome_of_a_later_version_does_not_break_the_file_off(exporter):
    event(outcome="edited")
    (line,) = read(exporter.get(EXPORT))
    assert line["situation"] == ""


def test_export_needs_its_permission():
    row = event()
    viewer = person(*VIEW)
    assert viewer.get(EXPORT).status_code == 403
    assert "Export" not in text_of(viewer.get(EVENTS))
    assert not select(viewer, EVENTS, "export_csv", row).streaming


def test_selected_all_or_filtered_rows_are_exported(exporter, caplog):
    rows = events(3, outcome="failed") + events(2)
    assert "Export all as CSV" in text_of(exporter.get(EVENTS))
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        selected = read(select(exporter, EVENTS, "export_csv", rows[0], rows[4]))
        across = read(select(exporter, f"{EVENTS}?situation=failed", "export_csv", rows[0], select_across="1"))
        filtered = read(exporter.get(EXPORT, {"situation": "failed", "q": "554499999999"}))
    assert {row["zaapId"] for row in selected} == {rows[0].zaap_id, rows[4].zaap_id}
    assert len(across) == len(filtered) == 3
    user = User.objects.get()
    assert caplog.messages == [f"{user.username} exported {count} messages." for count in (2, 3, 3)]


@pytest.mark.parametrize("same_moment", [True, False])
def test_every_row_is_exported_once_in_batches(exporter, monkeypatch, same_moment):
    monkeypatch.setattr(export, "BATCH_SIZE", 3)
    start = timezone.now()
    for number in range(8):
        event(received_at=start if same_moment else start - timedelta(seconds=number // 2))
    exported = [row["zaapId"] for row in read(exporter.get(EXPORT))]
    assert exported == list(DeliveryEvent.objects.order_by("-received_at", "-pk").values_list("zaap_id", flat=True))


def lines(username="ana"):
    return Lines(whole_phones=True).of(DeliveryEvent.objects.all(), username)


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.setattr(export, "BATCH_SIZE", 50)

    def peak():
        tracemalloc.start()
        exported = sum(line.count("\r\n") for line in lines())
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


def test_a_broken_off_download_is_logged_too(caplog):
    events(3)
    sent = lines()
    next(sent)
    with caplog.at_level(logging.INFO, logger="django_plugchat.admin"):
        sent.close()
    assert caplog.messages == ["ana exported 0 messages."]


def test_without_time_zones_times_are_as_stored(settings):
    settings.USE_TZ = False
    event(received_at=datetime(2026, 3, 1, 23, 30))
    assert "\r\n01/03/2026 23:30:00;" in "".join(lines())


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
