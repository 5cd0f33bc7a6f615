"""Fills a migrated PostgreSQL database, DATABASE_URL, with realistic events: millions in minutes. See README.md."""

from __future__ import annotations

import argparse
from typing import Any

import django

from benchmarks.report import progress

BATCH = 500_000
CONTACTS = 1_000_000

#: As the provider's live traffic is: most messages without a customId, some to a contact who was written to before,
#: four of a hundred failed. Everything the admin filters by fills its first page from 10,000 events on. Fingerprints
#: are those that the app would give, so that a repeated callback finds its row.
INSERT = """
WITH numbers AS (
    SELECT
        n,
        abs(hashint4(n)::bigint) %% %(contacts)s AS contact,
        upper(md5('zaap' || n)) AS zaap_id,
        upper(md5('message' || n)) AS message_id,
        CASE WHEN n %% 3 = 0 THEN 'order-' || n ELSE '' END AS custom_id,
        '3B8D1E0F5A724C96A1D0E7F2B4C6985A' AS instance_id,
        CASE WHEN n %% 3 = 2 THEN 'norte' ELSE 'default' END AS account,
        CASE n %% 100
            WHEN 1 THEN 'Phone number does not exist'
            WHEN 2 THEN 'Timeout on send message'
            WHEN 3 THEN 'Whatsapp did not allow sending this message'
            WHEN 4 THEN 'Media could not be downloaded'
            ELSE ''
        END AS error,
        CASE n %% 100 WHEN 3 THEN 'SHADOW_BAN' ELSE '' END AS error_code,
        date_trunc('second', now()) - interval '180 days' * (%(events)s - n) / %(events)s AS received_at,
        CASE
            WHEN n %% 70 = 5 THEN 'failed'
            WHEN n %% 70 = 6 THEN 'pending'
            WHEN n %% 70 = 7 THEN 'none'
            ELSE 'done'
        END AS dispatch_status
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
),
phones AS (
    SELECT
        *,
        '55' || (ARRAY['11', '21', '31', '41', '44', '51', '61', '71', '81', '85'])[1 + contact %% 10]
            || '9' || lpad((contact * 7919 %% 100000000)::text, 8, '0') AS phone,
        floor(extract(epoch FROM received_at) * 1000 - 700)::bigint AS momment
    FROM numbers
)
INSERT INTO django_plugchat_deliveryevent (
    account, zaap_id, custom_id, message_id, phone, type, instance_id, error, error_code, outcome,
    occurred_at, received_at, last_received_at, times_received, payload, secret_id, fingerprint,
    dispatch_status, dispatch_attempts, dispatch_due_at, dispatched_at, dispatch_error
)
SELECT
    account, zaap_id, custom_id, message_id, phone, 'DeliveryCallback', instance_id, error, error_code,
    CASE WHEN error = '' THEN 'sent' ELSE 'failed' END,
    to_timestamp(momment / 1000.0), received_at, received_at, 1,
    jsonb_build_object(
        'phone', phone, 'zaapId', zaap_id, 'messageId', message_id, 'instanceId', instance_id,
        'type', 'DeliveryCallback', 'momment', momment
    )
        || CASE WHEN custom_id = '' THEN '{}'::jsonb ELSE jsonb_build_object('customId', custom_id) END
        || CASE WHEN error = '' THEN '{}'::jsonb ELSE jsonb_build_object('error', error) END
        || CASE WHEN error_code = '' THEN '{}'::jsonb ELSE jsonb_build_object('errorCode', error_code) END,
    substr(encode(sha256(account::bytea), 'hex'), 1, 8),
    encode(sha256(convert_to(
        format(
            '["%%s","%%s","%%s","%%s","%%s","%%s","DeliveryCallback","%%s","%%s"]',
            account, phone, zaap_id, custom_id, message_id, instance_id, error, error_code
        ),
        'UTF8'
    )), 'hex'),
    dispatch_status,
    CASE dispatch_status WHEN 'failed' THEN 5 WHEN 'done' THEN 1 ELSE 0 END,
    CASE dispatch_status WHEN 'pending' THEN received_at + interval '5 minutes' END,
    CASE dispatch_status WHEN 'done' THEN received_at + interval '1 second' END,
    CASE dispatch_status WHEN 'failed' THEN 'shop.receivers.tell_the_order: OperationalError' ELSE '' END
FROM phones
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
