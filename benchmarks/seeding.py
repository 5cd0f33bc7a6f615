"""Fills a migrated PostgreSQL database, DATABASE_URL, with realistic events: millions in minutes. See README.md."""

from __future__ import annotations

import argparse
from typing import Any

import django

from benchmarks.report import progress

BATCH = 500_000
CONTACTS = 1_000_000

#: As live traffic is: most messages without a customId, some to a contact who was written to before, four of a hundred
#: failed, and after each delivery callback three statuses (of a failed message another's, whose delivery callback was
#: lost). The first fiftieth is of an account that has stopped since. Everything the admin filters by fills its first
#: page from 10,000 events on. Fingerprints are those that the app would give, so that a repeated callback finds its
#: row.
INSERT = """
WITH numbers AS (
    SELECT
        n,
        n / 4 AS m,
        n %% 4 AS kind,
        date_trunc('second', now()) - interval '180 days' * (%(events)s - n) / %(events)s AS received_at
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
),
messages AS (
    SELECT
        *,
        abs(hashint4(m)::bigint) %% %(contacts)s AS contact,
        CASE m %% 100
            WHEN 1 THEN 'Phone number does not exist'
            WHEN 2 THEN 'Timeout on send message'
            WHEN 3 THEN 'The message was not sent due to a likely shadow ban'
            WHEN 4 THEN 'Media could not be downloaded'
            ELSE ''
        END AS failure
    FROM numbers
),
events AS (
    SELECT
        *,
        kind = 0 AS is_delivery,
        '3B8D1E0F5A724C96A1D0E7F2B4C6985A' AS instance_id,
        CASE
            WHEN n <= %(events)s / 50 THEN 'stopped'
            WHEN m %% 3 = 2 THEN 'norte'
            ELSE 'default'
        END AS account,
        CASE WHEN kind = 0 THEN upper(md5('zaap' || m)) ELSE '' END AS zaap_id,
        upper(md5(CASE WHEN kind = 0 OR failure = '' THEN 'message' ELSE 'lost' END || m)) AS message_id,
        CASE WHEN kind = 0 AND m %% 3 = 0 THEN 'order-' || m ELSE '' END AS custom_id,
        CASE WHEN kind = 0 THEN failure ELSE '' END AS error,
        CASE WHEN kind = 0 AND m %% 100 = 3 THEN 'SHADOW_BAN' ELSE '' END AS error_code,
        CASE kind
            WHEN 0 THEN CASE WHEN failure = '' THEN 'sent' ELSE 'failed' END
            WHEN 1 THEN 'sent'
            WHEN 2 THEN 'received'
            ELSE 'read'
        END AS outcome,
        CASE kind WHEN 1 THEN 'SENT' WHEN 2 THEN 'RECEIVED' WHEN 3 THEN 'READ' END AS status,
        CASE kind WHEN 0 THEN 'DeliveryCallback' ELSE 'MessageStatusCallback' END AS type,
        '55' || (ARRAY['11', '21', '31', '41', '44', '51', '61', '71', '81', '85'])[1 + contact %% 10]
            || '9' || lpad((contact * 7919 %% 100000000)::text, 8, '0') AS phone,
        floor(extract(epoch FROM received_at) * 1000 - 700)::bigint AS momment,
        CASE
            WHEN n %% 70 = 5 THEN 'exhausted'
            WHEN n %% 70 = 6 THEN 'retrying'
            WHEN n %% 70 = 7 THEN 'pending'
            WHEN n %% 70 = 8 THEN 'none'
            ELSE 'done'
        END AS dispatch_status
    FROM messages
)
INSERT INTO django_plugchat_deliveryevent (
    account, zaap_id, custom_id, message_id, phone, participant, phone_digits, participant_digits, type, instance_id,
    error, error_code, outcome, occurred_at, received_at, last_received_at, times_received, payload, secret_id,
    fingerprint, dispatch_status, dispatch_attempts, dispatch_due_at, dispatched_at, dispatch_error
)
SELECT
    account, zaap_id, custom_id, message_id, phone, '', phone, '', type, instance_id,
    error, error_code, outcome, to_timestamp(momment / 1000.0), received_at, received_at, 1,
    jsonb_strip_nulls(jsonb_build_object(
        'phone', phone, 'zaapId', nullif(zaap_id, ''), 'instanceId', instance_id, 'type', type, 'momment', momment,
        'messageId', CASE WHEN is_delivery THEN message_id END,
        'ids', CASE WHEN NOT is_delivery THEN jsonb_build_array(message_id) END,
        'status', status, 'customId', nullif(custom_id, ''),
        'error', nullif(error, ''), 'errorCode', nullif(error_code, '')
    )),
    substr(encode(sha256(account::bytea), 'hex'), 1, 8),
    encode(sha256(convert_to(
        CASE WHEN is_delivery THEN format(
            '["%%s","%%s","%%s","%%s","%%s","%%s","DeliveryCallback","%%s","%%s"]',
            account, phone, zaap_id, custom_id, message_id, instance_id, error, error_code
        ) ELSE format(
            '["%%s","%%s","","%%s","%%s","MessageStatusCallback","%%s"]',
            account, phone, message_id, instance_id, outcome
        ) END,
        'UTF8'
    )), 'hex'),
    dispatch_status,
    CASE dispatch_status WHEN 'exhausted' THEN 5 WHEN 'done' THEN 1 WHEN 'retrying' THEN 2 ELSE 0 END,
    CASE WHEN dispatch_status IN ('pending', 'retrying') THEN received_at + interval '5 minutes' END,
    CASE dispatch_status WHEN 'done' THEN received_at + interval '1 second' END,
    CASE WHEN dispatch_status IN ('exhausted', 'retrying') THEN 'shop.receivers.tell_the_order: KeyError' ELSE '' END
FROM events
"""


def seed(connection: Any, events: int) -> None:
    from django_plugchat.models import DeliveryEvent

    # Built at the end, an index costs a tenth of what it does when every row is put into it.
    indexes, constraints = DeliveryEvent._meta.indexes, DeliveryEvent._meta.constraints
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off; SET maintenance_work_mem TO '256MB'")
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.remove_index(DeliveryEvent, index)
        for constraint in constraints:
            editor.remove_constraint(DeliveryEvent, constraint)
    for first in range(1, events + 1, BATCH):
        last = min(first + BATCH - 1, events)
        with connection.cursor() as cursor:
            cursor.execute(INSERT, {"first": first, "last": last, "events": events, "contacts": CONTACTS})
        progress(f"  {last:,} events")
    with connection.schema_editor() as editor:
        # In the migration's order, which is that in which PostgreSQL fills them: a repeated event ends at the first.
        for constraint in constraints:
            editor.add_constraint(DeliveryEvent, constraint)
        for index in indexes:
            editor.add_index(DeliveryEvent, index)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    options = parser.parse_args()
    django.setup()
    from django.db import connection

    seed(connection, options.events)


if __name__ == "__main__":
    main()
