"""What is deleted: what is old, and what is about one person.

All of it in small batches, each a short transaction of its own, so that callbacks are stored meanwhile, and so that
what was deleted stays deleted when the rest is left for another time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import IntegrityError, connections, models, router, transaction
from django.db.models.deletion import Collector
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError

from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.payloads import parse
from django_plugchat.phones import mentions, numbers
from django_plugchat.phones.digits import only_digits, read, readings
from django_plugchat.querysets import DeliveryEventQuerySet, PlugChatQuerySet, RejectedCallbackQuerySet

# Payloads and bodies may be MAX_BODY_BYTES long.
_SCAN_BATCH = 200

# A number without a country must be longer to be told from one of a small country.
_SHORTEST_WITH_PLUS = 8
_SHORTEST = 10
_TEXTS = (
    "phone",
    "participant",
    "zaap_id",
    "custom_id",
    "message_id",
    "instance_id",
    "error",
    "error_code",
    "dispatch_error",
)


class Deletion(NamedTuple):
    """How many rows were deleted, and the keys of those that are needed, with what needs them."""

    deleted: int
    needed: dict[Any, set[str]]


def delete(rows: PlugChatQuerySet, keys: list[Any], *, dry_run: bool = False) -> Deletion:
    """Delete those of the rows that have these keys; all but what a project's own tables need.

    These may say ``PROTECT`` or ``RESTRICT``, also of what would be deleted along with ours, or leave it to the
    database to refuse. The last is not known in a ``dry_run``.
    """
    chosen = rows.filter(pk__in=keys)
    try:
        if dry_run:
            Collector(using=chosen.db).collect(chosen)
            return Deletion(chosen.count(), {})
        with transaction.atomic(using=chosen.db):
            _total, by_model = chosen.delete()
        # Not what a project's own models lost with them.
        return Deletion(by_model.get(rows.model._meta.label, 0), {})
    except IntegrityError as error:  # those of Django are kinds of it
        needed = _needed(rows, keys)
        if not needed and len(keys) == 1:
            needed = {keys[0]: _labels(error)}
    others = [key for key in keys if key not in needed]
    # Where none is needed directly, they are halved until those are found that are.
    middle = len(others) if needed else len(others) // 2
    parts = [delete(rows, part, dry_run=dry_run) for part in (others[:middle], others[middle:]) if part]
    for part in parts:
        needed |= part.needed
    return Deletion(sum(part.deleted for part in parts), needed)


def _needed(rows: PlugChatQuerySet, keys: list[Any]) -> dict[Any, set[str]]:
    """Which of them other models protect directly."""
    needed: dict[Any, set[str]] = defaultdict(set)
    for relation in rows.model._meta.get_fields(include_hidden=True):
        if getattr(relation, "on_delete", None) in (models.PROTECT, models.RESTRICT):
            name, model = relation.field.name, relation.related_model
            of_keys = model._base_manager.using(rows.db).filter(**{f"{name}__pk__in": keys})
            for key in of_keys.values_list(f"{name}__pk", flat=True).distinct():
                needed[key].add(model._meta.label)
    return dict(needed)


def _labels(error: IntegrityError) -> set[str]:
    by = (getattr(error, name, ()) for name in ("protected_objects", "restricted_objects"))
    return {row._meta.label for rows in by for row in rows} or {_("another table")}


# What is old


def old_events(before: datetime, *, include_pending: bool = False) -> DeliveryEventQuerySet:
    events = DeliveryEvent.objects.for_writing().filter(received_at__lt=before)
    # Not "IS NULL": for that SQLite takes the index of the due dates, of which nearly all are NULL, and sorts them all.
    return events if include_pending else events.exclude(dispatch_due_at__isnull=False)


def old_but_pending_events(before: datetime) -> DeliveryEventQuerySet:
    """Events that no receiver has taken yet, and that are still tried."""
    return DeliveryEvent.objects.for_writing().filter(received_at__lt=before).unfinished()


def old_rejected(before: datetime) -> RejectedCallbackQuerySet:
    """Rejected callbacks that did not come again since then either."""
    return RejectedCallback.objects.for_writing().filter(last_received_at__lt=before)


def delete_in_batches(rows: PlugChatQuerySet, *, by: str, batch_size: int, dry_run: bool = False) -> Iterator[Deletion]:
    """Delete them along the index of a field."""
    for batch in rows.only("pk", by).in_batches(batch_size, by=by):
        # Under their conditions still: meanwhile an event may have been dispatched again.
        yield delete(rows, [row.pk for row in batch], dry_run=dry_run)


def tell_sqlite() -> None:
    """Have SQLite count how many rows an account, a type or an outcome has; the other databases do so by themselves.

    Without, it expects as few rows for an account as for an id, and may read a million of one account for one message.
    """
    connection = connections[router.db_for_write(DeliveryEvent)]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA analysis_limit = 1000")
        for index in DeliveryEvent._meta.indexes:
            # Those of one column are of ids and phone numbers: few rows for each, as SQLite expects of any index.
            if len(index.fields) > 1:
                cursor.execute(f"ANALYZE {connection.ops.quote_name(index.name)}")


# What is about one person


def full_number(text: str) -> str:
    """The digits of a full international number, in whatever notation.

    Raises ValueError, whose text does not repeat the number.
    """
    number, kind, is_international = numbers.identify(text)
    if not number or kind in {"group", "lid"} or len(only_digits(read(text)[0])) > numbers.LONGEST_WRITTEN:
        raise ValueError(_("That is not one phone number."))
    if (
        kind == "national"
        or len(number) < (_SHORTEST_WITH_PLUS if is_international else _SHORTEST)
        or (not is_international and numbers.is_national(number))
    ):
        raise ValueError(
            _(
                "That is not a full international number. Begin with the country code, for Brazil 55; "
                "write a short number of another country with a + before it."
            )
        )
    return number


@dataclass(frozen=True)
class Found:
    """Of a batch of rows: how many were looked at, and the keys of those that hold the number."""

    model: type[models.Model]
    looked_at: int
    international: list[Any]
    #: Those that hold it without its country only: it may be somebody else's abroad.
    national: list[Any]


def size() -> int:
    """How many rows a search for a number looks at."""
    return sum(rows.count() for rows in _searched())


def _searched() -> list[PlugChatQuerySet]:
    # Rejected callbacks first: one that is replayed meanwhile is then found among the events.
    searched: list[PlugChatQuerySet] = [RejectedCallback.objects.for_writing(), DeliveryEvent.objects.for_writing()]
    if apps.is_installed("django.contrib.admin"):
        entries = PlugChatQuerySet(apps.get_model("admin", "LogEntry")).for_writing()
        searched.append(entries.filter(content_type__app_label="django_plugchat"))
    return searched


def search(number: str) -> Iterator[Found]:
    """What holds a full international number: events, rejected callbacks, and the admin's history of both.

    Each row is read whole: no condition of a database knows all the notations.
    """
    wanted = mentions.Wanted(number)
    for rows in _searched():
        for batch in rows.in_batches(_SCAN_BATCH):
            keys: dict[mentions.Found, list[Any]] = {found: [] for found in mentions.Found}
            for row in batch:
                keys[_found_in(row, wanted)].append(row.pk)
            yield Found(rows.model, len(batch), keys[mentions.Found.INTERNATIONAL], keys[mentions.Found.NATIONAL])


def erase(model: type[models.Model], keys: list[Any], *, dry_run: bool = False) -> Deletion:
    """Delete rows; of the admin's history take the numbers only, so that it still says who did what."""
    rows = PlugChatQuerySet(model).for_writing()
    if not keys:
        return Deletion(0, {})
    if model in (DeliveryEvent, RejectedCallback):
        return delete(rows, keys, dry_run=dry_run)
    for entry in () if dry_run else rows.filter(pk__in=keys):
        entry.object_repr = numbers.mask_id(entry.object_repr)
        entry.change_message = numbers.mask_id(entry.change_message)
        entry.save(update_fields=["object_repr", "change_message"])
    return Deletion(len(keys), {})


def _found_in(row: Any, wanted: mentions.Wanted) -> mentions.Found:
    if isinstance(row, DeliveryEvent):
        if _is_stored(wanted, row.phone_digits, row.phone) or _is_stored(
            wanted, row.participant_digits, row.participant
        ):
            return mentions.Found.INTERNATIONAL
        return wanted.found_in([*(getattr(row, name) for name in _TEXTS), *_texts_in(row.payload)])
    if isinstance(row, RejectedCallback):
        return wanted.found_in([*readings(bytes(row.body)), *_parsed(bytes(row.body))])
    return wanted.found_in([row.object_repr, row.change_message])


def _is_stored(wanted: mentions.Wanted, digits: str, written: str) -> bool:
    # A number without its country may have the digits of another country's.
    return digits in wanted.international and numbers.identify(written).kind != "national"


def _parsed(body: bytes) -> Iterable[str]:
    # For numbers that are written with an exponent.
    try:
        return _texts_in(parse(body))
    except ParseError:
        return ()


def _texts_in(value: Any) -> Iterator[str]:
    """The strings, keys and whole numbers of a JSON value."""
    unread = [value]
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            unread += [*value, *value.values()]
        elif isinstance(value, list):
            unread += value
        elif isinstance(value, float):
            if value.is_integer():
                yield f"{value:.0f}"
        elif isinstance(value, str | int):
            yield str(value)
