"""The figures as Prometheus reads them, for the textfile collector of its node exporter."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from django.utils import timezone

from django_plugchat.upkeep.findings import AccountStatus, Finding

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
    samples = [("plugchat_checked_timestamp_seconds", "", timezone.now().timestamp())]
    samples += [("plugchat_finding", f'{{account="",finding="{finding.name}"}}', 1) for finding in of_this_host]
    for account in accounts:
        alias = account.alias.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        samples += [(name, f'{{account="{alias}"{label}}}', value) for name, label, value in _samples(account)]
    lines = []
    for metric, some in groupby(sorted(samples), key=itemgetter(0)):
        lines += [f"# HELP {metric} {METRICS[metric]}", f"# TYPE {metric} gauge"]
        lines += [f"{name}{labels} {float(value)}" for name, labels, value in some]
    return "\n".join([*lines, ""])


def _samples(account: AccountStatus) -> Iterator[tuple[str, str, float]]:
    """Metric, the label that it has besides the account, and value."""
    found = account.figures
    for name, moment in (("last_callback", found.last_callback), ("next_retry", found.next_retry_at)):
        if moment:
            yield f"plugchat_{name}_timestamp_seconds", "", moment.timestamp()
    if found.connections:
        yield "plugchat_connected", "", all(connection.is_connected for connection in found.connections)
    for name, label, counts in (
        ("plugchat_finding", "finding", Counter(finding.name for finding in account.findings)),
        ("plugchat_deliveries_24h", "outcome", found.deliveries),
        ("plugchat_statuses_24h", "outcome", found.statuses),
        ("plugchat_failures_24h", "kind", found.failures),
        ("plugchat_events", "state", found.counts),
    ):
        for value, count in counts.items():
            yield name, f',{label}="{value}"', count
