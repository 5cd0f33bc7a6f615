"""Fills a migrated database, DATABASE_URL, with messages and their statuses: millions in minutes. See README.md."""

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import django

from benchmarks.report import progress

#: Of each message: its delivery callback, and that it was sent, received and read.
EVENTS_OF_A_MESSAGE = 4
BATCH = 10_000
DAYS = 180
MESSAGES_OF_A_CONTACT = 5

_FAILURES = {
    1: ("Phone number does not exist", "", "number"),
    2: ("Timeout on send message", "", "temporary"),
    3: ("The message was not sent due to a likely shadow ban", "SHADOW_BAN", "restricted"),
    4: ("Media could not be downloaded", "", "other"),
}
_AREAS = ("11", "21", "31", "41", "44", "51", "61", "71", "81", "85")
_STATUSES = {1: ("SENT", "sent"), 2: ("RECEIVED", "received"), 3: ("READ", "read")}
#: Of 71 events, a number that shares no divisor with four, so that events of all sorts get them; but only of the newest
#: ones: what waits is worked off.
_NEWEST = 40_000
_DISPATCHES = {5: ("exhausted", 5), 6: ("retrying", 2), 7: ("pending", 0), 8: ("none", 0)}
_INSTANCE = "3B8D1E0F5A724C96A1D0E7F2B4C6985A"
_SECRET_IDS = {account: hashlib.sha256(account.encode()).hexdigest()[:8] for account in ("default", "norte", "stopped")}

COLUMNS = (
    "account, zaap_id, custom_id, message_id, phone, participant, phone_digits, participant_digits, type, instance_id, "
    "error, error_code, outcome, failure, occurred_at, received_at, last_received_at, times_received, payload, "
    "secret_id, "
    "fingerprint, dispatch_status, dispatch_attempts, dispatch_due_at, dispatched_at, dispatch_error, dispatch_failed"
)


def rows(messages: int) -> Iterator[tuple[Any, ...]]:
    """As live traffic is: a contact gets several messages, most have no customId, four of a hundred failed.

    After each delivery callback come three statuses; of a failed message they are another's, whose delivery callback
    was lost. The first fiftieth is of an account that has stopped since. Everything the admin filters by fills its
    first page from 10,000 messages on. Fingerprints are those that the app would give, so that a repeated callback
    finds its row.
    """
    contacts = max(1, messages // MESSAGES_OF_A_CONTACT)
    events = messages * EVENTS_OF_A_MESSAGE
    first = time.time() - DAYS * 24 * 60 * 60
    for number in range(events):
        message, kind = divmod(number, EVENTS_OF_A_MESSAGE)
        received = int(first + number * DAYS * 24 * 60 * 60 / events)
        yield _row(message, kind, received, contact=message * 2654435761 % 2**32 % contacts, messages=messages)


def _row(message: int, kind: int, received: int, *, contact: int, messages: int) -> tuple[Any, ...]:
    account = "stopped" if message < messages / 50 else "norte" if message % 3 == 2 else "default"
    error, error_code, failure = _FAILURES.get(message % 100, ("", "", ""))
    phone = f"55{_AREAS[contact % 10]}9{contact * 7919 % 100_000_000:08}"
    momment = received * 1000 - 700
    message_id = _id("lost" if kind and error else "message", message)
    zaap_id = custom_id = ""
    if kind == 0:
        type_, outcome, zaap_id = "DeliveryCallback", "failed" if error else "sent", _id("zaap", message)
        custom_id = f"order-{message}" if message % 3 == 0 else ""
        identity = (
            f'"{phone}","{zaap_id}","{custom_id}","{message_id}","{_INSTANCE}","{type_}","{error}","{error_code}"'
        )
        payload = f'"zaapId": "{zaap_id}", "messageId": "{message_id}"'
        given = {"customId": custom_id, "error": error, "errorCode": error_code}
        payload += "".join(f', "{key}": "{value}"' for key, value in given.items() if value)
    else:
        error = error_code = failure = ""
        type_, (status, outcome) = "MessageStatusCallback", _STATUSES[kind]
        identity = f'"{phone}","","{message_id}","{_INSTANCE}","{type_}","{outcome}"'
        payload = f'"ids": ["{message_id}"], "status": "{status}"'
    number = message * EVENTS_OF_A_MESSAGE + kind
    is_new = number >= messages * EVENTS_OF_A_MESSAGE - _NEWEST
    dispatch_status, attempts = _DISPATCHES.get(number % 71 if is_new else 0, ("done", 1))
    moment = _text(received)
    return (
        account,
        zaap_id,
        custom_id,
        message_id,
        phone,
        "",
        phone,
        "",
        type_,
        _INSTANCE,
        error,
        error_code,
        outcome,
        failure,
        f"{_text(received - 1)}.300000",
        moment,
        moment,
        1,
        f'{{"phone": "{phone}", "instanceId": "{_INSTANCE}", "type": "{type_}", "momment": {momment}, {payload}}}',
        _SECRET_IDS[account],
        str(UUID(bytes=hashlib.sha256(f'["{account}",{identity}]'.encode()).digest()[:16], version=5)),
        dispatch_status,
        attempts,
        _text(received + 300) if dispatch_status in {"pending", "retrying"} else None,
        _text(received + 1) if dispatch_status == "done" else None,
        "shop.receivers.tell_the_order: KeyError" if (raised := dispatch_status in {"exhausted", "retrying"}) else "",
        raised,
    )


def _id(prefix: str, number: int) -> str:
    return hashlib.md5(f"{prefix}{number}".encode(), usedforsecurity=False).hexdigest().upper()


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _insert(connection: Any, table: str, some: Sequence[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({COLUMNS}) FROM STDIN") as copy:
                for row in some:
                    copy.write_row(row)
        else:
            values = ", ".join(["%s"] * len(some[0]))
            cursor.executemany(f"INSERT INTO {table} ({COLUMNS}) VALUES ({values})", some)


_FASTER = {
    "postgresql": "SET synchronous_commit TO off; SET maintenance_work_mem TO '512MB'",
    "mysql": "SET unique_checks = 0",
    "sqlite": "PRAGMA cache_size = -1000000",
}
_TIDY = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE {}"}


def seed(connection: Any, messages: int) -> None:
    from django.db import transaction

    from django_plugchat.models import DeliveryEvent

    table = DeliveryEvent._meta.db_table
    # Built at the end, an index costs a tenth of what it does when every row is put into it.
    indexes, constraints = DeliveryEvent._meta.indexes, DeliveryEvent._meta.constraints
    if connection.vendor == "sqlite":
        constraints = []  # for each it would make the table again
    with connection.cursor() as cursor:
        cursor.execute(_FASTER[connection.vendor])
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.remove_index(DeliveryEvent, index)
        for constraint in constraints:
            editor.remove_constraint(DeliveryEvent, constraint)
    waiting, stored = rows(messages), 0
    while some := list(islice(waiting, BATCH)):
        with transaction.atomic():
            _insert(connection, table, some)
        stored += len(some)
        if stored % 1_000_000 == 0:
            progress(f"  {stored:,} events")
    with connection.schema_editor() as editor:
        # In the migration's order, which is that in which a database fills them: a repeated event ends at the first.
        for constraint in constraints:
            editor.add_constraint(DeliveryEvent, constraint)
        for index in indexes:
            editor.add_index(DeliveryEvent, index)
    if connection.vendor in _TIDY:
        with connection.cursor() as cursor:
            cursor.execute(_TIDY[connection.vendor].format(table))
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000_000, help="with four events each")
    options = parser.parse_args()
    django.setup()
    from django.db import connection

    seed(connection, options.messages)


if __name__ == "__main__":
    main()
