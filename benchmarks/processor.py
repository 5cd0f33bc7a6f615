"""Measures on one database, DATABASE_URL, and prints JSON for ``callbacks``, which starts it."""

from __future__ import annotations

import gc
import json
import random
import sys
from typing import Any

import django
from django.core.wsgi import get_wsgi_application

from benchmarks.variants import NEW, OTHER_CASES, Variant, unique_id
from benchmarks.wsgi import call, environ, timed


def prepare(application: Any, variant: Variant, bodies: list[str]) -> None:
    from benchmarks.rivals import receivers

    receivers.disconnect()
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
    variants = [*NEW, *OTHER_CASES]
    result: dict[str, Any] = {
        "versions": f"Python {sys.version.split()[0]}, Django {django.__version__}",
        "statements": {},
        "processor": {variant.name: [] for variant in variants},
    }
    for variant in variants:
        # Before what is measured: the first request also loads and caches.
        result["statements"][variant.name] = [statements(application, variant) for _time in range(3)][-1]
    for _round in range(rounds):
        # Whatever else the machine does meets all alike.
        for variant in random.sample(variants, len(variants)):
            bodies = [variant.body(unique_id()) for _number in range(requests)]
            prepare(application, variant, bodies)
            gc.collect()
            processor, _clock = timed(application, variant, bodies)
            result["processor"][variant.name].append(processor)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
