"""The figures as Prometheus reads them, for the textfile collector of its node exporter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.utils import timezone

from django_plugchat.upkeep.findings import AccountStatus, Finding

_Sample = tuple[dict[str, str], float]
#: Each metric with what it says; all are gauges.
METRICS = {
    "plugchat_checked_timestamp_seconds": "When plugchat_status looked.",
    "plugchat_finding": "1 for each thing that needs a person; account is empty for what is about this host.",
    "plugchat_last_callback_timestamp_seconds": "When anything came last.",
    "plugchat_connected": "Whether all instances of the account that are known are connected.",
    "plugchat_deliveries_24h": "Events of delivery callbacks in 24 hours, by outcome.",
    "plugchat_statuses_24h": "Events of status callbacks in 24 hours, by outcome.",
    "plugchat_failures_24h": "Failed deliveries in 24 hours, by kind.",
    "plugchat_events": "Dispatches by state, and rejected callbacks.",
    "plugchat_next_retry_timestamp_seconds": "When a dispatch that failed is tried again.",
}


def render(accounts: Iterable[AccountStatus], of_this_host: Iterable[Finding]) -> str:
    samples: dict[str, list[_Sample]] = {name: [] for name in METRICS}
    samples["plugchat_checked_timestamp_seconds"].append(({}, timezone.now().timestamp()))
    for finding in of_this_host:
        samples["plugchat_finding"].append(({"account": "", "finding": finding.name}, 1))
    for account in accounts:
        for name, labels, value in _samples(account):
            samples[name].append(({"account": account.alias, **labels}, value))
    return "".join(_metric(name, found) for name, found in samples.items() if found)


def _samples(account: AccountStatus) -> Iterator[tuple[str, dict[str, str], float]]:
    found = account.figures
    for finding in account.findings:
        yield "plugchat_finding", {"finding": finding.name}, 1
    if found.last_callback:
        yield "plugchat_last_callback_timestamp_seconds", {}, found.last_callback.timestamp()
    if found.connections:
        yield "plugchat_connected", {}, all(connection.is_connected for connection in found.connections)
    for outcome, count in found.deliveries.items():
        yield "plugchat_deliveries_24h", {"outcome": outcome}, count
    for outcome, count in found.statuses.items():
        yield "plugchat_statuses_24h", {"outcome": outcome}, count
    for kind, count in found.failures.items():
        yield "plugchat_failures_24h", {"kind": kind}, count
    for state, count in found.counts.items():
        yield "plugchat_events", {"state": state}, count
    if found.next_retry_at:
        yield "plugchat_next_retry_timestamp_seconds", {}, found.next_retry_at.timestamp()


def _metric(name: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {METRICS[name]}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{shown}}} {float(value)!r}" if shown else f"{name} {float(value)!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
