"""Delivery events as CSV, the way spreadsheets in Brazil open it: semicolons, dd/mm/yyyy, a byte-order mark.

A leading apostrophe keeps a cell text in Excel and in LibreOffice. It stands before whatever would run as a formula,
and before ids that would be read as a number or a date (``12E5`` as 1200000). Strip it when a program reads the file.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Q
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_plugchat.charts import today
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet
from django_plugchat.phones import mask_number_in, mask_phone, mask_phones_in

logger = logging.getLogger("django_plugchat.admin")

BATCH_SIZE = 1000

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_MONTHS = "jan|fe[bv]|mar|a[bp]r|ma[iy]|jun|jul|a[gu][og]|se[pt]|o[cu]t|nov|de[cz]"
_MISREAD = re.compile(
    rf"[\d\s.,:/()%$-]*(e[\d+-]*)?|[\d\s./-]*({_MONTHS})[a-zç]*[\d\s./-]*|true|false|verdadeiro|falso", re.IGNORECASE
)


def guard(text: str) -> str:
    """Text that no spreadsheet runs."""
    return f"'{text}" if _FORMULA.match(text) else text


def guard_id(text: str) -> str:
    """An id that no spreadsheet runs, rounds or turns into a date."""
    return f"'{text}" if text and _MISREAD.fullmatch(text) else guard(text)


class _Line:
    def write(self, line: str) -> str:
        return line


def _batches(events: DeliveryEventQuerySet) -> Iterator[list[DeliveryEvent]]:
    # Not iterator(): on MariaDB its driver fetches all rows first, and elsewhere it holds a transaction open for as
    # long as the download takes.
    events = events.order_by("-received_at", "-pk").defer("payload", "dispatch_error")
    rows = list(events[:BATCH_SIZE])
    while rows:
        yield rows
        last = rows[-1]
        older = Q(received_at__lt=last.received_at) | Q(received_at=last.received_at, pk__lt=last.pk)
        rows = list(events.filter(older, received_at__lte=last.received_at)[:BATCH_SIZE])


def csv_lines(events: DeliveryEventQuerySet, *, whole_phones: bool, username: str) -> Iterator[str]:
    """The lines of the file, newest event first, and who took how many in the log."""
    # All of this now: language and time zone may be others when the lines are sent.
    zone = timezone.get_current_timezone()
    field = DeliveryEvent._meta.get_field
    header = [
        *(
            _("%(column)s (%(time_zone)s)") % {"column": field(name).verbose_name, "time_zone": zone}  # type: ignore[union-attr]
            for name in ("received_at", "occurred_at", "last_received_at")
        ),
        *(
            str(field(name).verbose_name)  # type: ignore[union-attr]
            for name in (
                *("times_received", "account", "phone", "outcome", "error", "error_code"),
                *("custom_id", "zaap_id", "message_id", "instance_id", "dispatch_status"),
            )
        ),
    ]
    outcomes = {value: str(label) for value, label in DeliveryEvent.Outcome.choices}
    statuses = {value: str(label) for value, label in DeliveryEvent.DispatchStatus.choices}
    accounts = {alias: account.label for alias, account in app_settings.accounts.items()}

    def moment(value: datetime | None) -> str:
        if value is None:
            return ""
        return (timezone.localtime(value, zone) if timezone.is_aware(value) else value).strftime("%d/%m/%Y %H:%M:%S")

    def cells(event: DeliveryEvent) -> Iterable[Any]:
        texts = [event.error, event.error_code]
        ids = [event.custom_id, event.zaap_id, event.message_id, event.instance_id]
        if not whole_phones:
            texts = [mask_phones_in(text, event.phone) for text in texts]
            ids = [mask_number_in(text, event.phone) for text in ids]
        return (
            moment(event.received_at),
            moment(event.occurred_at),
            moment(event.last_received_at),
            event.times_received,
            guard_id(accounts.get(event.account, event.account)),
            guard_id(event.phone if whole_phones else mask_phone(event.phone)),
            outcomes[event.outcome],
            *map(guard, texts),
            *map(guard_id, ids),
            statuses[event.dispatch_status],
        )

    def lines() -> Iterator[str]:
        writer: Any = csv.writer(_Line(), delimiter=";")
        exported = 0
        try:
            yield "\ufeff" + writer.writerow(header)
            for batch in _batches(events):
                exported += len(batch)
                yield "".join(writer.writerow(cells(event)) for event in batch)
        finally:
            # Also where the download was broken off.
            logger.info("%s exported %d delivery events.", username, exported)

    return lines()


async def _in_threads(lines: Iterator[str]) -> AsyncIterator[str]:
    # Django would read the whole of a synchronous iterator into memory first.
    while chunk := await sync_to_async(lambda: next(lines, ""))():
        yield chunk


def csv_response(request: HttpRequest, events: DeliveryEventQuerySet, *, whole_phones: bool) -> StreamingHttpResponse:
    lines = csv_lines(events, whole_phones=whole_phones, username=request.user.get_username())
    response = StreamingHttpResponse(
        _in_threads(lines) if isinstance(request, ASGIRequest) else lines, content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="plugchat-{today():%Y-%m-%d}.csv"'
    response["Cache-Control"] = "no-store"
    return response
