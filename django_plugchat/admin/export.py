"""Events as CSV, the way spreadsheets in Brazil open it: semicolons, dd/mm/yyyy, a byte-order mark.

An apostrophe stands before whatever would run as a formula, and before ids that would be read as a number or a date
(``12E5`` as 1200000). Excel and LibreOffice then take the cell for text. Strip it when a program reads the file.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_plugchat import times
from django_plugchat.admin.base import ReadOnlyAdmin, sees_phones, shown_id
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.phones.numbers import mask_phone
from django_plugchat.provider.errors import Failure, known_code, known_text
from django_plugchat.querysets import DeliveryEventQuerySet

logger = logging.getLogger("django_plugchat.admin")

BATCH_SIZE = 1000

# Where a cell begins: whoever reads the file by another separator has one begin after each of them. The blanks and
# separators after it are always taken too, so that no text takes longer than its length.
_BEGINNING = re.compile(r"(^|[,;\t\r\n])([,;\s\"]*+)([=+\-@\uff1d\uff0b\uff0d\uff20]?)")
_MONTHS = "jan|fe[bv]|mar|a[bp]r|ma[iy]|jun|jul|a[gu][og]|se[pt]|o[cu]t|nov|de[cz]"
_MISREAD = re.compile(
    rf"[\d\s.,:/()%$-]*(e[\d+-]*)?|[\d\s./-]*({_MONTHS})[a-zç]*[\d\s./-]*|true|false|verdadeiro|falso", re.IGNORECASE
)

_TIMES = ("received_at", "occurred_at", "last_received_at")
_IDS = ("custom_id", "zaap_id", "message_id", "instance_id")


def guard(text: str) -> str:
    """Text that no spreadsheet runs, by whichever separator it cuts the line."""
    guarded = _BEGINNING.sub(lambda found: f"{found[1]}{found[2]}'{found[3]}" if found[3] else found[0], text)
    return f"'{guarded}" if guarded[:1] in {"\t", "\r", "\n"} else guarded


def guard_id(text: str) -> str:
    """An id that no spreadsheet runs, rounds or turns into a date."""
    return f"'{text}" if text and _MISREAD.fullmatch(text) else guard(text)


class _Line:
    def write(self, line: str) -> str:
        return line


class CsvExport:
    """Made where language and time zone are those of the request: they may be others when the lines are sent."""

    def __init__(self, *, whole_phones: bool) -> None:
        self.whole_phones = whole_phones
        self.zone = timezone.get_current_timezone()
        self.outcomes = {value: str(label) for value, label in DeliveryEvent.Outcome.choices}
        self.failures = {"": "", **{value: str(label) for value, label in Failure.choices}}
        self.statuses = {value: str(label) for value, label in DeliveryEvent.DispatchStatus.choices}
        self.header = [
            *(
                _("%(column)s (%(time_zone)s)") % {"column": self._name(name), "time_zone": self.zone}
                for name in _TIMES
            ),
            *map(self._name, ("times_received", "account", "phone", "participant", "type", "outcome")),
            _("why it was not sent"),
            *map(self._name, ("error", "error_code", *_IDS, "dispatch_status")),
        ]

    def _name(self, field: str) -> str:
        return str(DeliveryEvent._meta.get_field(field).verbose_name)  # type: ignore[union-attr]

    def _moment(self, value: datetime | None) -> str:
        if value is None:
            return ""
        return (timezone.localtime(value, self.zone) if timezone.is_aware(value) else value).strftime(
            "%d/%m/%Y %H:%M:%S"
        )

    def _texts(self, event: DeliveryEvent) -> tuple[str, str]:
        if self.whole_phones:
            return event.error, event.error_code
        return known_text(event.error), known_code(event.error_code)

    def cells(self, event: Any) -> list[Any]:
        event.whole_phones = self.whole_phones
        phones = (event.phone, event.participant)
        return [
            *(self._moment(getattr(event, name)) for name in _TIMES),
            event.times_received,
            guard_id(app_settings.label(event.account)),
            *(guard_id(phone if self.whole_phones or not phone else mask_phone(phone)) for phone in phones),
            guard(event.type),
            self.outcomes[event.outcome],
            self.failures[event.failure],
            *map(guard, self._texts(event)),
            *(guard_id(shown_id(event, getattr(event, name))) for name in _IDS),
            self.statuses[event.dispatch_status],
        ]

    def lines(self, events: DeliveryEventQuerySet, username: str) -> Iterator[str]:
        """The lines of the file, newest event first; who took how many goes to the log."""
        writer: Any = csv.writer(_Line(), delimiter=";")
        exported = 0
        try:
            yield "\ufeff" + writer.writerow(map(guard, self.header))
            for batch in events.defer("payload", "dispatch_error").in_batches(BATCH_SIZE, by="-received_at"):
                exported += len(batch)
                yield "".join(writer.writerow(self.cells(event)) for event in batch)
        finally:
            # Also where the download was broken off.
            logger.info("%s exported %d events.", username, exported)


async def _in_threads(lines: Iterator[str]) -> AsyncIterator[str]:
    # Django would read the whole of a synchronous iterator into memory first.
    while chunk := await sync_to_async(lambda: next(lines, ""))():
        yield chunk


class ExportCsv(ReadOnlyAdmin):
    """For the admin of events: what is selected, or all rows of the list as it is filtered."""

    actions: Sequence[str] = ("export_csv",)

    def get_urls(self) -> list[URLPattern]:
        return [self.page_of_rows("export", self.export_view), *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.export_deliveryevent")

    @admin.action(description=gettext_lazy("Export as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: Any) -> HttpResponseBase:
        user: Any = request.user
        lines = CsvExport(whole_phones=sees_phones(request)).lines(queryset, user.get_username())
        response = StreamingHttpResponse(
            _in_threads(lines) if isinstance(request, ASGIRequest) else lines, content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="plugchat-{times.today():%Y-%m-%d}.csv"'
        response["Cache-Control"] = "no-store"
        return response

    def export_view(self, request: HttpRequest, changelist: Any) -> HttpResponseBase:
        if not self.has_export_permission(request):
            raise PermissionDenied
        return self.export_csv(request, changelist.queryset)
