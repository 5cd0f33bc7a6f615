"""``plugchat_status`` over a million events of 1, 200 and 2,000 accounts, calling and silent. See README.md.

DATABASE_URL is a database of its own, migrated: its events are deleted.
"""

import argparse
import os
import time
from contextlib import suppress
from datetime import timedelta
from io import StringIO
from unittest import mock

import django

from benchmarks.report import progress, say, table

SIZES = (1, 200, 2000)
DAYS = 30
#: Of four events of a message, the first is its delivery callback.
_SERIES = """
WITH RECURSIVE series (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM series WHERE i + 1 < {events})
SELECT i, i % 4 AS kind, (i - i % 4) / 4 % {accounts} AS account FROM series"""
_TEXT = {"mysql": "CHAR"}
_MOMENT = {
    "postgresql": "now() - interval '{days} days' * (1 - i / {events}.0)",
    "mysql": "utc_timestamp(6) - interval round(86400 * {days} * (1 - i / {events})) second",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', (86400.0 * {days} * (i / {events}.0 - 1)) || ' seconds')",
}
_UUID = {"postgresql": "gen_random_uuid()", "mysql": "uuid()", "sqlite": "lower(hex(randomblob(16)))"}


def seed(connection, events: int, accounts: int) -> None:
    from django_plugchat.models import DeliveryEvent

    values = {field.column: "''" for field in DeliveryEvent._meta.concrete_fields if not field.primary_key}
    text = _TEXT.get(connection.vendor, "TEXT")
    moment = _MOMENT[connection.vendor].format(days=DAYS, events=events)
    message = f"CAST((i - kind) / 4 AS {text})"
    if connection.vendor == "mysql":
        account, number = "CONCAT('account-', CAST(account AS SIGNED))", f"CONCAT('message-', {message})"
    else:
        account, number = f"'account-' || CAST(account AS {text})", f"'message-' || {message}"
    values |= {
        "account": account,
        "zaap_id": f"CASE kind WHEN 0 THEN {number} ELSE '' END",
        "message_id": number,
        "type": "CASE kind WHEN 0 THEN 'DeliveryCallback' ELSE 'MessageStatusCallback' END",
        "outcome": "CASE kind WHEN 2 THEN 'received' WHEN 3 THEN 'read' ELSE 'sent' END",
        "occurred_at": "NULL",
        "received_at": moment,
        "last_received_at": moment,
        "times_received": "1",
        "payload": "'{}'",
        "secret_id": "'01234567'",
        "fingerprint": _UUID[connection.vendor],
        "dispatch_status": "'done'",
        "dispatch_attempts": "1",
        "dispatch_due_at": "NULL",
        "dispatched_at": moment,
        "dispatch_failed": "false",
    }
    series = _SERIES.format(events=events, accounts=accounts)
    DeliveryEvent.objects.all()._raw_delete(connection.alias)
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"SET SESSION max_recursive_iterations = {events + 1}, unique_checks = 0")
        columns = ", ".join(values)
        rows = f"SELECT {', '.join(values.values())} FROM ({series}) numbered"
        cursor.execute(f"INSERT INTO {DeliveryEvent._meta.db_table} ({columns}) {rows}")
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")


def measure(accounts: int, later: timedelta) -> tuple[float, int]:
    """Seconds of the fastest of five runs, and statements."""
    from django.core.management import CommandError, call_command
    from django.db import connection
    from django.test import override_settings
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    configured = {f"account-{n}": {"WEBHOOK_SECRETS": [f"webhook-secret-of-account-{n:06}"]} for n in range(accounts)}
    now, taken = timezone.now(), []
    with (
        override_settings(PLUGCHAT={"ACCOUNTS": configured}),
        mock.patch.object(timezone, "now", return_value=now + later),
    ):
        for _round in range(5):
            start = time.perf_counter()
            with CaptureQueriesContext(connection) as queries, suppress(CommandError):
                call_command("plugchat_status", stdout=StringIO())
            taken.append(time.perf_counter() - start)
    return min(taken), len(queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    from django.db import connection

    rows = []
    for accounts in SIZES:
        progress(f"{accounts} accounts")
        seed(connection, options.events, accounts)
        for name, later in (("calling", timedelta(0)), ("silent", timedelta(days=3))):
            seconds, statements = measure(accounts, later)
            rows.append([f"{accounts:,}, {name}", f"{seconds:.2f}", statements])
    say(f"{connection.display_name}, {options.events:,} events of {DAYS} days\n")
    table(["Accounts", "Seconds", "Statements"], rows)


if __name__ == "__main__":
    main()
