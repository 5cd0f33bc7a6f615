"""What is about one person: where it is looked for, what the app ties to that person, and how it is erased."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models
from django.db.models import Q

from django_plugchat import bodies, spool
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones import numbers
from django_plugchat.phones.mentions import Found, Person
from django_plugchat.querysets import PlugChatQuerySet
from django_plugchat.upkeep.deletion import Deletion, delete

# Payloads and bodies may be MAX_BODY_BYTES long, and callbacks may come meanwhile for the rows that are deleted.
SCAN_BATCH = 100
#: Of a body that was compressed. What is longer is named, to be looked at.
_MOST_INFLATED = 16 * 1024 * 1024
_MOST_LAYERS = 3

_TEXTS = (
    *("phone", "participant", "zaap_id", "custom_id", "message_id", "instance_id"),
    *("error", "error_code", "dispatch_error"),
)


class Batch(NamedTuple):
    """Of some rows: what was erased, and the keys of those that may be about somebody else."""

    model: type[models.Model]
    done: Deletion
    left: list[Any]
    #: The stored forms of other numbers and privacy ids that the app knows the person by.
    also_called: set[str]


def _searched() -> Iterator[PlugChatQuerySet]:
    """Where it is looked for, with what is there by the time that it is asked for; whatever comes later is not.

    What may become something else comes before it: a rejected callback that is replayed meanwhile is found as an event.
    So ``erase_spooled``, whose callbacks become both, comes before all of these.
    """
    rows: list[PlugChatQuerySet] = [RejectedCallback.objects.for_writing(), DeliveryEvent.objects.for_writing()]
    if apps.is_installed("django.contrib.admin"):
        entries = PlugChatQuerySet(apps.get_model("admin", "LogEntry")).for_writing()
        rows.append(entries.filter(content_type__app_label="django_plugchat"))
    for some in rows:
        yield some.filter(pk__lte=some.order_by("-pk").values_list("pk", flat=True).first() or 0)


def erase(person: Person, *, dry_run: bool = False) -> Iterator[Batch]:
    """Delete rows; of the admin's history take the numbers only, so that it still says who did what."""
    # Each row is read whole: no condition of a database knows all the notations.
    for rows in _searched():
        known: set[Any] = set()
        for batch in rows.in_batches(SCAN_BATCH):
            found = [(row, _found_in(row, person)) for row in batch]
            about = [row for row, how in found if how >= person.enough]
            tied = _tied_to(about, person) if rows.model is DeliveryEvent else []
            keys = list({row.pk for row in [*about, *tied]} - known)
            known.update(keys)
            if rows.model in (DeliveryEvent, RejectedCallback):
                # One message may have many more events than this batch has rows.
                done = delete(rows.model._default_manager.for_writing(), keys, dry_run=dry_run)
            else:
                done = Deletion(len(keys), {})
                for entry in () if dry_run else about:
                    entry.object_repr = numbers.mask_numbers(entry.object_repr)
                    entry.change_message = numbers.mask_numbers(entry.change_message)
                    entry.save(update_fields=["object_repr", "change_message"])
            left = [row.pk for row, how in found if how is Found.PERHAPS and row.pk not in known]
            also_called = {row.phone_digits for row in tied if not person.is_called(row.phone)}
            yield Batch(rows.model, done, left, also_called)


def erase_spooled(person: Person, *, dry_run: bool = False) -> tuple[int, list[str]]:
    """Of this host's spool: how many callbacks were erased, and the files that may be others'. Raises OSError."""
    erased, left = 0, []
    with spool.alone(wait=True):  # so that nothing moves into the database unseen
        for path in [*spool.paths(), *spool.paths(aside=True)]:
            found = _found_in_body(spool.body_of(path), person)
            if found >= person.enough:
                erased += 1
                if not dry_run:
                    path.unlink()
            elif found:
                left.append(path.name)
    return erased, left


def still_called(name: str) -> Any:
    """The key of an event that has a number or privacy id, in its stored form; None where there is none."""
    events = DeliveryEvent.objects.for_writing().filter(Q(phone_digits=name) | Q(participant_digits=name))
    return events.order_by("-pk").values_list("pk", flat=True).first()


def _found_in(row: Any, person: Person) -> Found:
    if isinstance(row, DeliveryEvent):
        return person.found_in([*(getattr(row, name) for name in _TEXTS), json.dumps(row.payload, ensure_ascii=False)])
    if isinstance(row, RejectedCallback):
        return _found_in_body(bytes(row.body), person)
    return person.found_in([row.object_repr, row.change_message])


def _tied_to(about: list[Any], person: Person) -> list[Any]:
    """The other events of messages that went to the person, by any number or privacy id; none of participants."""
    ids_of: dict[str, set[str]] = defaultdict(set)
    for row in about:
        if person.is_called(row.phone):
            ids_of[row.account] |= {row.zaap_id, row.message_id}
    tied: list[Any] = []
    for account, ids in ids_of.items():
        events, known = DeliveryEvent.objects.for_writing().for_account(account), {""}
        while new := ids - known:
            known |= new
            for other in events.for_message(*new):
                if not other.participant and person.may_be_called(other.phone):
                    tied.append(other)
                    ids |= {other.zaap_id, other.message_id}
    return tied


def _found_in_body(body: bytes, person: Person) -> Found:
    """In what came, and in what it was before somebody compressed it without saying so, or more than once."""
    found = Found.NOT
    for _layer in range(_MOST_LAYERS):
        text = body.decode(errors="replace")
        found = max(found, person.found_in([text]))
        if "\ufffd" not in text:
            break
        coding = "gzip" if body.startswith(b"\x1f\x8b") else "deflate"
        body, _is_whole = bodies.inflated(body, coding, _MOST_INFLATED)
        if len(body) > _MOST_INFLATED:
            found = max(found, Found.PERHAPS)
    return found
