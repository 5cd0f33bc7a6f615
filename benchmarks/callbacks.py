"""What a callback costs, beside a plain Django view and other ways of storing it. See README.md."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from typing import Any

from benchmarks import throughput
from benchmarks.databases import environment, migrate, run, temporary_postgresql, temporary_sqlite
from benchmarks.report import goals, median_ratio, progress, ratios, say, spread, table
from benchmarks.variants import FLOOR, GET_OR_CREATE, IGNORED, NEW, OTHER_CASES, OURS, REPEATED, TUTORIAL, WRONG


def measure(url: str, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[float]]]:
    migrate(environment(url))
    progress("  processor time")
    processor = run(environment(url), "benchmarks.processor", str(options.rounds), str(options.requests))
    progress("  requests per second")
    http = throughput.measure(url, rounds=options.http_rounds, seconds=options.seconds)
    return json.loads(processor), http


def show(name: str, measured: dict[str, Any], http: dict[str, list[float]]) -> None:
    processor, statements = measured["processor"], measured["statements"]
    floor, http_floor = processor[FLOOR.name], http[FLOOR.name]
    say(f"## {name}")
    say()
    table(
        ["A new event", "µs of processor time", "of the floor", "SQL statements", "requests/s", "of the floor"],
        [
            (
                variant.name,
                spread(processor[variant.name], factor=1e6),
                spread(ratios(processor[variant.name], floor), 2),
                statements[variant.name],
                spread(http[variant.name]),
                spread(ratios(http[variant.name], http_floor), 2),
            )
            for variant in NEW
        ],
    )
    table(
        ["Anything else", "µs of processor time", "of the floor", "SQL statements"],
        [
            (
                variant.name,
                spread(processor[variant.name], factor=1e6),
                spread(ratios(processor[variant.name], floor), 2),
                statements[variant.name],
            )
            for variant in OTHER_CASES
        ],
    )
    ours = processor[OURS.name]
    goals(
        [
            ("Processor time, of the floor's", median_ratio(ours, floor), "≤", 1.35),
            ("Faster than update_or_create", median_ratio(processor[TUTORIAL.name], ours), "≥", 2.5),
            ("Faster than get_or_create", median_ratio(processor[GET_OR_CREATE.name], ours), "≥", 2),
            ("Requests per second, of the floor's", median_ratio(http[OURS.name], http_floor), "≥", 0.8),
            ("Statements for a new event", statements[OURS.name], "≤", 1),
            ("Statements for a repeated one", statements[REPEATED.name], "≤", 2),
            ("Statements for a wrong secret", statements[WRONG.name], "≤", 0),
            ("Statements for an ignored type", statements[IGNORED.name], "≤", 0),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of processor time")
    parser.add_argument("--requests", type=int, default=25, help="of each variant in a round")
    parser.add_argument("--http-rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=3, help="of load on each variant in an HTTP round")
    options = parser.parse_args()
    with ExitStack() as stack:
        for name, database in (("SQLite", temporary_sqlite), ("PostgreSQL", temporary_postgresql)):
            progress(name)
            measured, http = measure(stack.enter_context(database()), options)
            show(f"{name}, {measured['versions']}", measured, http)


if __name__ == "__main__":
    main()
