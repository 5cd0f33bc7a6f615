"""The admin's pages, on two databases in turns: how long they take, and by which indexes they find their rows."""

import random
import re
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.databases import Chosen
from benchmarks.report import median_ratio, say, spread, table

LIST = "/admin/django_plugchat/deliveryevent/"
TABLE = "django_plugchat_deliveryevent"
WHOLE_TABLE = "the whole table"
FILTERS = [
    "received=today",
    "received=7",
    "received=30",
    "account=default",
    "account=norte",
    "account=stopped",
    "situation=sent",
    "situation=received",
    "situation=read",
    "situation=failed",
    "situation=number",
    "situation=other",
    "dispatch_status__exact=none",
    "dispatch_status__exact=pending",
    "dispatch_status__exact=retrying",
    "dispatch_status__exact=done",
    "dispatch_status__exact=exhausted",
    "account=norte&situation=failed",
    "account=stopped&situation=read",
    "received=yesterday&situation=sent",
]
CHARTS = ["", "received=today", "situation=restricted", "account=norte"]
#: What counts. The list by situation looks at up to 20,000 messages, however many there are.
CHART, OVERVIEW, SITUATION = "chart", "overview", "situation"


def paths() -> dict[str, str]:
    """By what people call them; those of one event and of the searches are of the chosen database."""
    from django_plugchat.models import DeliveryEvent

    events = DeliveryEvent.objects.using(Chosen.alias)
    event = events.deliveries().exclude(custom_id="").order_by("-pk")[100]
    found = {
        "list": LIST,
        "list, second page": f"{LIST}?p=2",
        "list, oldest first": f"{LIST}?o=1",
        **{f"list, {query}": f"{LIST}?{query.replace(' ', '+')}" for query in FILTERS},
    }
    for name in ("zaap_id", "custom_id", "message_id", "phone"):
        found[f"search, {name}"] = f"{LIST}?q={getattr(event, name)}"
    found["search, nothing found"] = f"{LIST}?q=nothing"
    found["search, last 30 days"] = f"{LIST}?q={event.phone}&received=30"
    found["one event"] = f"{LIST}{event.pk}/change/"
    for query in CHARTS:
        found[f"{CHART}, {query}" if query else CHART] = f"{LIST}chart/?{query}"
    found[OVERVIEW] = "/admin/django_plugchat/connection/"
    return found


class Statements:
    """Wraps a connection; keeps what was asked of the events' table."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip("(\n").startswith("SELECT") and TABLE in sql:
            self.seen.append((sql, params))
        return execute(sql, params, many, context)


def explained(connection: Any, statements: Statements) -> list[str]:
    """By what each statement finds its rows."""
    found = []
    with connection.cursor() as cursor:
        for sql, params in statements.seen:
            if re.search(rf"FROM .{TABLE}.( ORDER BY [^()]+)? LIMIT 1$", sql):
                continue  # the first row of any, as exists() asks for
            cursor.execute(f"{_EXPLAIN[connection.vendor]} {sql}", params)
            names = [name[0] for name in cursor.description]
            ways = _WAYS[connection.vendor](dict(zip(names, row, strict=True)) for row in cursor.fetchall())
            found.append(" + ".join(dict.fromkeys(ways)))
    return found


def _ways_of_postgresql(plan: Iterable[dict[str, Any]]) -> Iterator[str]:
    for line in plan:
        for scan, index in re.findall(
            rf"(Seq Scan) on {TABLE}|(?:using|Bitmap Index Scan on) (\w+)", line["QUERY PLAN"]
        ):
            yield WHOLE_TABLE if scan else index


def _ways_of_mariadb(plan: Iterable[dict[str, Any]]) -> Iterator[str]:
    for line in plan:
        if line["table"] == TABLE:
            yield line["key"] or WHOLE_TABLE


def _ways_of_sqlite(plan: Iterable[dict[str, Any]]) -> Iterator[str]:
    for line in plan:
        if match := re.match(
            rf"(?:SCAN|SEARCH) {TABLE}\b(?:.* USING (?:\w+ )*?INDEX (\w+)|(.*PRIMARY KEY))?", line["detail"]
        ):
            yield match[1] or ("the primary key" if match[2] else WHOLE_TABLE)


_EXPLAIN = {"postgresql": "EXPLAIN", "mysql": "EXPLAIN", "sqlite": "EXPLAIN QUERY PLAN"}
_WAYS = {"postgresql": _ways_of_postgresql, "mysql": _ways_of_mariadb, "sqlite": _ways_of_sqlite}


@contextmanager
def browser() -> Iterator[Any]:
    """A superuser of the chosen database, logged in."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    user = get_user_model().objects.create_superuser("benchmark")
    client = Client()
    client.force_login(user)
    try:
        yield client
    finally:
        client.logout()
        user.delete()


def one_round(number: int, result: dict[str, dict[str, list[float]]], plans: dict[str, list[str]], large: str) -> None:
    from django.db import connections

    connection = connections[Chosen.alias]
    with browser() as client:
        for name, path in paths().items():
            statements = Statements()
            with connection.execute_wrapper(statements):
                started = time.perf_counter()
                response = client.get(path)
                taken = time.perf_counter() - started
            if response.status_code != 200:
                raise RuntimeError(f"{path} answered {response.status_code}.")
            if number:  # the first compiles templates
                result[name][Chosen.alias].append(taken)
            elif Chosen.alias == large:
                plans[name] = explained(connection, statements)


def measure(aliases: tuple[str, str], *, rounds: int) -> list[tuple[str, float, str, float]]:
    small, large = aliases
    result: dict[str, dict[str, list[float]]] = {}
    plans: dict[str, list[str]] = {}
    Chosen.alias = small
    for name in paths():
        result[name] = {small: [], large: []}
    for number in range(rounds + 1):
        for alias in random.sample(aliases, 2):
            Chosen.alias = alias
            one_round(number, result, plans, large)

    say("## Pages of the admin")
    say()
    table(
        ["Page", "ms, few events", "ms, many events", "ratio", "rows found by, of each statement"],
        [
            (
                name,
                spread(times[small], 1, factor=1e3),
                spread(times[large], 1, factor=1e3),
                f"{median_ratio(times[large], times[small]):.2f}",
                "; ".join(plans[name]),
            )
            for name, times in result.items()
        ],
    )
    counting = {name for name in result if name.startswith((CHART, OVERVIEW)) or SITUATION in name}
    slowest = {name: median_ratio(times[large], times[small]) for name, times in result.items() if name not in counting}
    worst = max(slowest, key=lambda name: slowest[name])
    longest = max(statistics.median(result[name][large]) for name in counting)
    sequential = sum(WHOLE_TABLE in plan for of_page in plans.values() for plan in of_page)
    return [
        (f"The page that slows down most ({worst}), many to few", slowest[worst], "≤", 1.5),
        ("The slowest page that counts, of many, in seconds", longest, "≤", 1),
        ("Statements of the admin that read the whole table", sequential, "≤", 0),
    ]
