"""What millions of stored events change: for a callback, on disk and in the admin. See README.md."""

import argparse
import gc
import json
import os
import random
from contextlib import ExitStack
from typing import Any

from benchmarks import pages
from benchmarks.databases import (
    Chosen,
    environment,
    migrate,
    run,
    temporary_mariadb,
    temporary_postgresql,
    temporary_sqlite,
)
from benchmarks.report import goals, median_ratio, progress, ratios, say, spread, table
from benchmarks.variants import OURS, REPEATED, Variant, unique_id
from benchmarks.wsgi import timed

SMALL, LARGE = "default", "large"
FEW = 10_000
DATABASES = {
    "PostgreSQL": (temporary_postgresql, 5_000_000),
    "MariaDB": (temporary_mariadb, 1_000_000),
    "SQLite": (temporary_sqlite, 1_000_000),
}

#: Why each index of ``DeliveryEvent`` is there.
INDEXES = {
    "django_plugchat_deliveryevent_pkey": "one event; the dispatcher's claim",
    "plugchat_event_fingerprint": "stores an event once: finds what is said again, also when both come at once",
    "plugchat_event_received": "the list of everything, the filter by time; pruning",
    "plugchat_event_type": "the list of deliveries in its order; the chart",
    "plugchat_event_account": "everything of one account, and its last callback; plugchat_status",
    "plugchat_event_account_type": "the deliveries of one account, also where they stopped long ago",
    "plugchat_event_failure": "the list of each kind of failure; the chart; the overview",
    "plugchat_event_zaap_id": "for_message, progress, the search, the story of a message",
    "plugchat_event_custom_id": "for_custom_id, the search, the story of a message",
    "plugchat_event_message_id": "how far a message has come; for_message, the search, its story",
    "plugchat_event_phone": "the search for a number; plugchat_forget",
    "plugchat_event_participant": "the same for a number in a group",
    "plugchat_event_due": "plugchat_redispatch: what is due, oldest first",
    "plugchat_event_dispatch": "the list of each dispatch status; plugchat_status; --include-none",
}


def stored_bodies(number: int) -> list[str]:
    """Callbacks that came before, from anywhere in the table."""
    from django_plugchat.models import DeliveryEvent

    events = DeliveryEvent.objects.using(Chosen.alias)
    newest = events.order_by("-pk").values_list("pk", flat=True)[0]
    pks = random.sample(range(1, newest), number * 3)
    payloads = events.filter(pk__in=pks, account="default").values_list("payload", flat=True)[:number]
    return [json.dumps(payload) for payload in payloads]


def statements(application: Any, variant: Variant, bodies: list[str]) -> float:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connections[Chosen.alias]) as queries:
        timed(application, variant, bodies)
    return len(queries) / len(bodies)


def callbacks(application: Any, *, rounds: int, requests: int) -> list[tuple[str, float, str, float]]:
    from django.db import connections

    if connections[LARGE].vendor == "postgresql":
        with connections[LARGE].cursor() as cursor:
            # After it each page is logged whole when it is first changed: with random ids nearly all that are.
            cursor.execute("CHECKPOINT")
    kinds = {"a new event": OURS, "a repeated one": REPEATED}
    clocks: dict[tuple[Variant, str], list[float]] = {}
    processors: dict[tuple[Variant, str], list[float]] = {}
    counts = {}
    for number in range(rounds + 1):
        for variant in kinds.values():
            for alias in random.sample((SMALL, LARGE), 2):
                Chosen.alias = alias
                if variant.repeated:
                    bodies = stored_bodies(requests)
                else:
                    bodies = [variant.body(unique_id()) for _number in range(requests)]
                if not number:
                    counts[variant, alias] = statements(application, variant, bodies)
                    continue
                gc.collect()
                processor, clock = timed(application, variant, bodies)
                processors.setdefault((variant, alias), []).append(processor)
                clocks.setdefault((variant, alias), []).append(clock)
    say("## Time of a callback")
    say()
    rows: list[list[object]] = []
    for name, variant in kinds.items():
        small, large = clocks[variant, SMALL], clocks[variant, LARGE]
        rows.append(
            [
                name,
                *(spread(times, factor=1e6) for times in (small, large)),
                spread(ratios(large, small), 2),
                *(spread(processors[variant, alias], factor=1e6) for alias in (SMALL, LARGE)),
                f"{counts[variant, SMALL]:g}, {counts[variant, LARGE]:g}",
            ]
        )
    table(
        [
            "A callback",
            "µs by the clock, few events stored",
            "many",
            "ratio",
            "µs of processor time, few",
            "many",
            "SQL statements",
        ],
        rows,
    )
    return [
        (f"Time of {name}, many stored to few", median_ratio(clocks[variant, LARGE], clocks[variant, SMALL]), "≤", 1.2)
        for name, variant in kinds.items()
    ]


def disk() -> None:
    """On PostgreSQL."""
    from django.db import connections

    say("## Disk")
    say()
    with connections[LARGE].cursor() as cursor:
        cursor.execute(
            "SELECT count(*), pg_table_size('django_plugchat_deliveryevent'), "
            "pg_total_relation_size('django_plugchat_deliveryevent') FROM django_plugchat_deliveryevent"
        )
        events, rows, total = cursor.fetchone()
        cursor.execute(
            "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes "
            "WHERE relname = 'django_plugchat_deliveryevent' ORDER BY 2 DESC"
        )
        sizes = [("the rows", rows, "")]
        sizes += [(name, size, INDEXES[name]) for name, size in cursor.fetchall()]
    sizes.append(("all", total, ""))
    table(
        ["Part", "bytes per event", "share", "what for"],
        [(name, f"{size / events:.0f}", f"{size / total:.0%}", reason) for name, size, reason in sizes],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="PostgreSQL")
    parser.add_argument("--messages", type=int, help="in the large database: 5,000,000 on PostgreSQL, else 1,000,000")
    parser.add_argument("--rounds", type=int, default=100, help="of callbacks")
    parser.add_argument("--requests", type=int, default=25, help="of each kind in a round")
    parser.add_argument("--page-rounds", type=int, default=9)
    parser.add_argument("--seeded", nargs=2, metavar="URL", help="databases seeded before: the small, the large one")
    options = parser.parse_args()
    temporary, default = DATABASES[options.database]
    messages = options.messages or default
    with ExitStack() as stack:
        urls = options.seeded
        if urls is None:
            urls = []
            for number in (FEW, messages):
                progress(f"{number:,} messages")
                url = stack.enter_context(temporary())
                migrate(environment(url))
                run(environment(url), "benchmarks.seeding", "--messages", str(number))
                urls.append(url)
        measure(*urls, options)


def measure(small: str, large: str, options: argparse.Namespace) -> None:
    os.environ.update(environment(small, LARGE_DATABASE_URL=large))
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    from django.db import connections

    from django_plugchat.models import DeliveryEvent

    counts = [DeliveryEvent.objects.using(alias).deliveries().count() for alias in (SMALL, LARGE)]
    say(f"# {connections[LARGE].display_name}: {counts[0]:,} messages with their statuses, and {counts[1]:,}")
    say()
    if connections[LARGE].vendor == "postgresql":
        disk()
    progress("callbacks")
    results = callbacks(application, rounds=options.rounds, requests=options.requests)
    progress("admin")
    results += pages.measure((SMALL, LARGE), rounds=options.page_rounds)
    goals(results)
    connections.close_all()


if __name__ == "__main__":
    main()
