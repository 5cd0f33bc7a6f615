"""A check of django-health-check 4: add "django_plugchat.upkeep.health.PlugChat" to the checks of its view."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from django.db import connections, router
from health_check.base import HealthCheck
from health_check.exceptions import ServiceReturnedUnexpectedResult

from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep.findings import of_this_host, statuses


@dataclass
class PlugChat(HealthCheck):
    # Not a field: of those, the answer shows the values.
    timeout = timedelta(seconds=30)

    def run(self) -> None:
        # In a thread of its own, whose connections nobody closes.
        with connections[router.db_for_write(DeliveryEvent)].temporary_connection():
            found = chain(of_this_host(), *(account.findings for account in statuses()))
            names = sorted({finding.name for finding in found})
        if names:
            # Anybody may read it: neither which accounts there are nor how they do.
            raise ServiceReturnedUnexpectedResult(", ".join(names))
