"""What is deleted: what is old, and what is about one person.

All of it in small batches, each a short transaction of its own, so that callbacks are stored meanwhile, and so that
what was deleted stays deleted when the rest is left for another time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import models, router
from django.db.models import Q
from django.db.models.functions import Cast
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError

from django_plugchat import phones
from django_plugchat.models import DeliveryEvent, DeliveryEventQuerySet, RejectedCallback, RejectedCallbackQuerySet
from django_plugchat.parsers import parse

_SCAN_BATCH = 1000
# Each may be MAX_BODY_BYTES long.
_REJECTED_BATCH = 50

_LONGEST_NUMBER = 15  # by E.164
_NATIONAL_NUMBER = re.compile(r"[1-9]{2}(?:9[0-9]{8}|[2-9][0-9]{7})")
_TEXTS = ("phone", "zaap_id", "custom_id", "message_id", "instance_id", "error", "error_code", "dispatch_error")
_ESCAPED_DIGIT = re.compile(r"\\u003([0-9])")


def _events() -> DeliveryEventQuerySet:
    return DeliveryEvent.objects.using(router.db_for_write(DeliveryEvent))


def _rejected() -> RejectedCallbackQuerySet:
    return RejectedCallback.objects.using(router.db_for_write(RejectedCallback))


def old_events(before: datetime, *, include_pending: bool = False) -> DeliveryEventQuerySet:
    events = _events().filter(received_at__lt=before)
    return events if include_pending else events.filter(dispatch_due_at=None)


def old_but_pending_events(before: datetime) -> DeliveryEventQuerySet:
    """Events that no receiver has taken yet, and that are still tried."""
    return _events().filter(received_at__lt=before, dispatch_due_at__isnull=False)


def old_rejected(before: datetime) -> RejectedCallbackQuerySet:
    """Rejected callbacks that did not come again since then either."""
    return _rejected().filter(last_received_at__lt=before)


def delete_in_batches(rows: models.QuerySet[Any], *, by: str, batch_size: int) -> Iterator[int]:
    """Delete them along the index of a field; yields how many with each batch."""
    remaining = rows.order_by(by, "pk")
    while batch := list(remaining.values("pk", by)[:batch_size]):
        # Under their conditions still: meanwhile an event may have been dispatched again.
        yield _delete(rows.filter(pk__in=[row["pk"] for row in batch]))
        remaining = rows.filter(**{f"{by}__gte": batch[-1][by]}).order_by(by, "pk")


def _delete(rows: models.QuerySet[Any]) -> int:
    _total, by_model = rows.delete()
    # Not what a project's own models lost with them.
    return by_model.get(rows.model._meta.label, 0)


def forms_of_number(text: str) -> list[str]:
    """The digits of a full international number, in both forms of Brazil's ninth digit.

    Raises ValueError, whose text does not repeat the number.
    """
    if re.search(r"[^\W0-9_]", text):
        raise ValueError(_("That is not a phone number: only digits and punctuation make one."))
    number = phones.digits(text)
    is_international = "+" in text or number.startswith("00")
    number = number.removeprefix("00")
    if len(number) > _LONGEST_NUMBER:
        raise ValueError(_("That is not one phone number: it is too long."))
    if (
        number.startswith("0")
        or len(number) < (8 if is_international else 10)
        or (not is_international and _NATIONAL_NUMBER.fullmatch(number))
    ):
        raise ValueError(
            _(
                "That is not a full international number. Begin with the country code, for Brazil 55; "
                "write a short number of another country with a + before it."
            )
        )
    return phones.variants(number)


def size() -> int:
    """How many rows a search for a number looks at."""
    return _events().count() + _rejected().count()


def erase(model: type[models.Model], pks: list[Any]) -> int:
    return _delete(model._default_manager.using(router.db_for_write(model)).filter(pk__in=pks))


def events_about(forms: list[str]) -> Iterator[tuple[int, list[Any]]]:
    """Events about a number or mentioning it anywhere; yields how many were looked at, and the keys of those found.

    Compared are whole runs of digits. So a group is found by the number of who created it, which its id begins with.
    """
    of_number = _events().filter(phone__in=forms)
    for pks in _key_batches(of_number, _SCAN_BATCH):
        yield len(pks), pks
    whole_run = _whole_run(forms)
    others = _events().exclude(phone__in=forms)
    holding = Q()
    for form in forms:
        for column in (*_TEXTS, "payload_text"):
            holding |= Q(**{f"{column}__contains": form})
    # The database picks the few that hold the digits at all, which spares parsing a million payloads here.
    candidates = others.annotate(payload_text=Cast("payload", models.TextField())).filter(holding)
    for pks in _key_batches(others, _SCAN_BATCH):
        rows = candidates.filter(pk__range=(pks[0], pks[-1])).values_list("pk", *_TEXTS, "payload")
        yield len(pks), [pk for pk, *values in rows.iterator(chunk_size=100) if _mentions(whole_run, values)]


def rejected_about(forms: list[str]) -> Iterator[tuple[int, list[Any]]]:
    """Rejected callbacks whose body holds the number; yields as ``events_about`` does."""
    whole_run = _whole_run(forms)
    for pks in _key_batches(_rejected(), _REJECTED_BATCH):
        bodies = _rejected().filter(pk__in=pks).values_list("pk", "body")
        yield len(pks), [pk for pk, body in bodies if _mentions(whole_run, _readings(bytes(body)))]


def _key_batches(rows: models.QuerySet[Any], size: int) -> Iterator[list[Any]]:
    keys = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(keys[:size])
    while batch:
        yield batch
        batch = list(keys.filter(pk__gt=batch[-1])[:size])


def _whole_run(forms: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9])(?:{'|'.join(forms)})(?![0-9])")


def _readings(body: bytes) -> Iterator[Any]:
    # As it stands, whatever it is: without the zero bytes UTF-16 reads as its digits do.
    yield _ESCAPED_DIGIT.sub(r"\1", body.replace(b"\0", b"").decode("latin-1"))
    try:
        yield parse(body)
    except ParseError:
        return


def _mentions(pattern: re.Pattern[str], values: Any) -> bool:
    """Whether a string or number in this JSON, its keys included, matches."""
    unread = list(values)
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            unread += [*value, *value.values()]
        elif isinstance(value, list):
            unread += value
        elif pattern.search(str(value)):
            return True
    return False
