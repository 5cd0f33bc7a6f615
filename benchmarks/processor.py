"""Measures on one database, DATABASE_URL, and prints JSON for ``callbacks``, which starts it."""

import gc
import json
import random
import sys
import time
import uuid
from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from benchmarks.variants import CALLBACK, LIMIT, NEW, OTHER_CASES, OURS, Variant, unique_id
from benchmarks.wsgi import call, environ, timed


class Limit:
    """A Django request that does nothing, and one INSERT, by the driver, of a row like those of the app."""

    def __init__(self, application: Any) -> None:
        from django.db import connection

        from django_plugchat.models import DeliveryEvent

        timed(application, OURS, [OURS.body(unique_id())])
        self.application, self.connection = application, connection
        self.event = DeliveryEvent.objects.latest("pk")
        self.fields = [field for field in DeliveryEvent._meta.concrete_fields if not field.primary_key]
        columns = ", ".join(connection.ops.quote_name(field.column) for field in self.fields)
        placeholder = "?" if connection.vendor == "sqlite" else "%s"
        values = ", ".join([placeholder] * len(self.fields))
        self.sql = f"INSERT INTO {DeliveryEvent._meta.db_table} ({columns}) VALUES ({values})"
        connection.ensure_connection()
        self.driver = connection.connection

    def row(self) -> list[Any]:
        event = self.event
        event.fingerprint, event.zaap_id = uuid.uuid4(), unique_id()
        event.message_id = event.zaap_id
        return [field.get_db_prep_save(getattr(event, field.attname), self.connection) for field in self.fields]

    def timed(self, requests: int) -> float:
        rows = [self.row() for _number in range(requests)]
        environs = [environ(LIMIT, "{}") for _number in range(requests)]
        insert = self.driver.cursor if self.connection.vendor != "sqlite" else self._plain_cursor
        started = time.process_time()
        for row, each in zip(rows, environs, strict=True):
            call(self.application, each)
            cursor = insert()
            cursor.execute(self.sql, row)
            cursor.close()
        return (time.process_time() - started) / requests

    def _plain_cursor(self) -> Any:
        import sqlite3

        return self.driver.cursor(factory=sqlite3.Cursor)


def prepare(application: Any, variant: Variant, bodies: list[str]) -> None:
    from benchmarks.rivals import receivers

    receivers.disconnect()
    settings.PLUGCHAT = MANY if variant.many_accounts else FEW
    if variant.path == CALLBACK:
        # The first request after a change of the setting finds out who has which secret.
        timed(application, OURS, [OURS.body(unique_id())])
    if variant.receiver:
        receivers.connect()
    if variant.repeated:
        for body in bodies:
            call(application, environ(variant, body))


def statements(application: Any, variant: Variant) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    bodies = [variant.body(unique_id())]
    prepare(application, variant, bodies)
    with CaptureQueriesContext(connection) as queries:
        timed(application, variant, bodies)
    return len(queries)


def main(rounds: int, requests: int) -> None:
    application = get_wsgi_application()
    limit = Limit(application)
    variants = [LIMIT, *NEW, *OTHER_CASES]
    result: dict[str, Any] = {
        "versions": f"Python {sys.version.split()[0]}, Django {django.__version__}",
        "statements": {LIMIT.name: 1},
        "processor": {variant.name: [] for variant in variants},
    }
    for variant in variants[1:]:
        # Before what is measured: the first request also loads and caches.
        result["statements"][variant.name] = [statements(application, variant) for _time in range(3)][-1]
    for _round in range(rounds):
        # Whatever else the machine does meets all alike.
        for variant in random.sample(variants, len(variants)):
            if variant is LIMIT:
                gc.collect()
                processor = limit.timed(requests)
            else:
                bodies = [variant.body(unique_id()) for _number in range(requests)]
                prepare(application, variant, bodies)
                gc.collect()
                processor, _clock = timed(application, variant, bodies)
            result["processor"][variant.name].append(processor)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    FEW, MANY = settings.PLUGCHAT, settings.PLUGCHAT_WITH_MANY_ACCOUNTS
    main(*map(int, sys.argv[1:]))
