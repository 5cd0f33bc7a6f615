"""The figures as Prometheus reads them, for the textfile collector of its node exporter."""

from collections.abc import Iterable, Iterator

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
    samples: dict[str, list[str]] = {name: [] for name in METRICS}
    samples["plugchat_checked_timestamp_seconds"].append(
        f"plugchat_checked_timestamp_seconds {timezone.now().timestamp()}"
    )
    for finding in of_this_host:
        samples["plugchat_finding"].append(f'plugchat_finding{{account="",finding="{finding.name}"}} 1.0')
    for account in accounts:
        alias = account.alias.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for name, label, value in _samples(account):
            samples[name].append(f'{name}{{account="{alias}"{label}}} {float(value)}')
    lines = []
    for name, text in METRICS.items():
        if samples[name]:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", *samples[name]]
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
        ("plugchat_finding", "finding", dict.fromkeys((finding.name for finding in account.findings), 1)),
        ("plugchat_deliveries_24h", "outcome", found.deliveries),
        ("plugchat_statuses_24h", "outcome", found.statuses),
        ("plugchat_failures_24h", "kind", found.failures),
        ("plugchat_events", "state", found.counts),
    ):
        for value, count in counts.items():
            yield name, f',{label}="{value}"', count
