"""Messages as CSV, the way spreadsheets in Brazil open it: semicolons, dd/mm/yyyy, a byte-order mark.

An apostrophe stands before whatever would run as a formula, and before what would be read as a number or a date
(``12E5`` as 1200000). Excel and LibreOffice then take the cell for text. Strip it when a program reads the file.
"""

import csv
import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy

from django_plugchat import accounts, times
from django_plugchat.admin.base import sees_phones
from django_plugchat.models import DeliveryEvent
from django_plugchat.phones.numbers import mask_id, mask_phone
from django_plugchat.provider.errors import Failure, known
from django_plugchat.querysets import DeliveryEventQuerySet
from django_plugchat.statements import uncompiled

logger = logging.getLogger("django_plugchat.admin")

BATCH_SIZE = 1000

# Where a cell begins: whoever reads the file by another separator has one begin after each of them. The blanks and
# separators after it are always taken too, so that no text takes longer than its length.
_BEGINNING = re.compile(r"(^|[,;\t\r\n])([,;\s\"]*+)([=+\-@\uff1d\uff0b\uff0d\uff20]?)")
_MONTHS = "jan|fe[bv]|mar|a[bp]r|ma[iy]|jun|jul|a[gu][og]|se[pt]|o[cu]t|nov|de[cz]"
_MISREAD = re.compile(
    rf"[\d\s.,:/()%$-]+(e[\d+-]*)?|[\d\s./-]*({_MONTHS})[a-zç]*[\d\s./-]*|true|false|verdadeiro|falso", re.IGNORECASE
)


def guard(text: str) -> str:
    """Text that no spreadsheet runs, rounds or turns into a date, by whichever separator it cuts the line."""
    guarded = _BEGINNING.sub(lambda found: f"{found[1]}{found[2]}'{found[3]}" if found[3] else found[0], text)
    return f"'{guarded}" if guarded[:1] in {"\t", "\r", "\n"} or _MISREAD.fullmatch(guarded) else guarded


class Lines:
    """Of the file. Made where language and time zone are those of the request: later they may be others."""

    def __init__(self, *, whole_phones: bool) -> None:
        self.whole_phones = whole_phones
        self.zone = timezone.get_current_timezone()
        self.labels = {value: str(label) for value, label in (*DeliveryEvent.Outcome.choices, *Failure.choices)}
        moments = (_("time"), _("received by the contact"), _("read"))
        self.header = [
            *(_("%(column)s (%(time_zone)s)") % {"column": name, "time_zone": self.zone} for name in moments),
            *(_("account"), _("phone"), _("situation"), _("why it was not sent"), _("error"), _("error code")),
            *("customId", "zaapId", "messageId", "instanceId"),
        ]

    def _moment(self, value: datetime | None) -> str:
        if value and timezone.is_aware(value):
            value = timezone.localtime(value, self.zone)
        return f"{value:%d/%m/%Y %H:%M:%S}" if value else ""

    def _cells(self, event: Any) -> list[str]:
        phone, error, code = event.phone, event.error, event.error_code
        ids = [event.custom_id, event.zaap_id, event.message_id, event.instance_id]
        if not self.whole_phones:
            phone, ids = mask_phone(phone), list(map(mask_id, ids))
            _kind, error, code = known(error, code)
        situation = [self.labels.get(value, "") for value in (event.progress, event.failure)]
        return [
            *map(self._moment, (event.received_at, event.reached_at, event.read_at)),
            *map(guard, (accounts.label(event.account), phone, *situation, error, code, *ids)),
        ]

    def of(self, events: DeliveryEventQuerySet, username: str) -> Iterator[str]:
        """Newest message first, many at once; who took how many goes to the log."""
        batches = events.with_progress().defer("payload", "dispatch_error").in_batches(BATCH_SIZE, by="-received_at")
        next_batch: Any = uncompiled(events.db)(partial(next, batches, []))
        exported = 0
        try:
            yield "\ufeff" + _written([map(guard, self.header)])
            while batch := next_batch():
                exported += len(batch)
                yield _written(map(self._cells, batch))
        finally:
            # Also where the download was broken off.
            logger.info("%s exported %d messages.", username, exported)


def _written(rows: Any) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerows(rows)
    return file.getvalue()


async def _in_threads(lines: Iterator[str]) -> AsyncIterator[str]:
    # Django would read the whole of a synchronous iterator into memory first.
    while chunk := await sync_to_async(lambda: next(lines, ""))():
        yield chunk


@admin.action(description=gettext_lazy("Export as CSV"), permissions=["export"])
def export_csv(model_admin: Any, request: HttpRequest, events: DeliveryEventQuerySet) -> HttpResponseBase:
    lines = Lines(whole_phones=sees_phones(request)).of(events, request.user.get_username())
    response = StreamingHttpResponse(
        _in_threads(lines) if isinstance(request, ASGIRequest) else lines, content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="plugchat-{times.today():%Y-%m-%d}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def export(model_admin: Any, request: HttpRequest, changelist: Any) -> HttpResponseBase:
    """All messages of the list as it is filtered."""
    if not model_admin.has_export_permission(request):
        raise PermissionDenied
    return export_csv(model_admin, request, changelist.queryset)
