"""What a callback costs, beside the physical limit and other ways of storing it. See README.md."""

import argparse
import json
from contextlib import ExitStack
from typing import Any

from benchmarks import throughput
from benchmarks.databases import (
    environment,
    migrate,
    run,
    temporary_mariadb,
    temporary_postgresql,
    temporary_sqlite,
)
from benchmarks.report import goals, median_ratio, progress, ratios, say, spread, table
from benchmarks.variants import (
    FLOOR,
    GET_OR_CREATE,
    IGNORED,
    LIMIT,
    MANY_ACCOUNTS,
    NEW,
    OTHER_CASES,
    OURS,
    REPEATED,
    STATUSES,
    TUTORIAL,
    WITH_RECEIVER,
    WRONG,
)

#: A hundred messages in one callback, in the time of new events.
MOST_OF_A_HUNDRED = {"SQLite": 20, "PostgreSQL": 15, "MariaDB": 16}
DATABASES = {"SQLite": temporary_sqlite, "PostgreSQL": temporary_postgresql, "MariaDB": temporary_mariadb}


def measure(url: str, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[float]]]:
    migrate(environment(url))
    progress("  processor time")
    processor = run(environment(url), "benchmarks.processor", str(options.rounds), str(options.requests))
    http = {}
    if options.http_rounds:
        progress("  requests per second")
        http = throughput.measure(url, rounds=options.http_rounds, seconds=options.seconds)
    return json.loads(processor), http


def show(engine: str, measured: dict[str, Any], http: dict[str, list[float]]) -> None:
    processor, statements = measured["processor"], measured["statements"]
    limit, ours = processor[LIMIT.name], processor[OURS.name]
    say(f"## {engine}, {measured['versions']}")
    say()
    table(
        ["A callback", "µs of processor time", "of the limit", "of ours", "SQL statements"],
        [
            (
                variant.name,
                spread(processor[variant.name], factor=1e6),
                spread(ratios(processor[variant.name], limit), 2),
                f"{median_ratio(processor[variant.name], ours):.2f}",
                statements[variant.name],
            )
            for variant in [LIMIT, *NEW, *OTHER_CASES]
        ],
    )
    if http:
        table(
            ["Over HTTP, a new event", "requests/s", "of the plain view"],
            [
                (
                    variant.name,
                    spread(http[variant.name]),
                    spread(ratios(http[variant.name], http[FLOOR.name]), 2),
                )
                for variant in NEW
            ],
        )
    goals(
        [
            ("A new event, of the limit", median_ratio(ours, limit), "≤", 2.1),
            (
                "With one receiver inside the request, of the limit",
                median_ratio(processor[WITH_RECEIVER.name], limit),
                "≤",
                2.9,
            ),
            ("A repeated event, of the limit", median_ratio(processor[REPEATED.name], limit), "≤", 2.1),
            (
                "A status of a hundred new messages, in new events",
                median_ratio(processor[STATUSES.name], ours),
                "≤",
                MOST_OF_A_HUNDRED[engine],
            ),
            ("1,000 accounts, of one", median_ratio(processor[MANY_ACCOUNTS.name], ours), "≤", 1.1),
            ("get_or_create in a DRF view, of ours", median_ratio(processor[GET_OR_CREATE.name], ours), "≥", 2.2),
            ("update_or_create in a DRF view, of ours", median_ratio(processor[TUTORIAL.name], ours), "≥", 2.4),
            ("Statements for a new event", statements[OURS.name], "≤", 1),
            ("Statements with a receiver", statements[WITH_RECEIVER.name], "≤", 2),
            ("Statements for a repeated one", statements[REPEATED.name], "≤", 1),
            ("Statements for a hundred messages", statements[STATUSES.name], "≤", 1),
            ("Statements for a wrong secret", statements[WRONG.name], "≤", 0),
            ("Statements for an ignored type", statements[IGNORED.name], "≤", 0),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of processor time")
    parser.add_argument("--requests", type=int, default=25, help="of each variant in a round")
    parser.add_argument("--http-rounds", type=int, default=8, help="0 leaves HTTP out")
    parser.add_argument("--seconds", type=int, default=3, help="of load on each variant in an HTTP round")
    parser.add_argument("--database", choices=DATABASES, action="append", help="by default all three")
    options = parser.parse_args()
    with ExitStack() as stack:
        for name in options.database or DATABASES:
            progress(name)
            measured, http = measure(stack.enter_context(DATABASES[name]()), options)
            show(name, measured, http)


if __name__ == "__main__":
    main()
