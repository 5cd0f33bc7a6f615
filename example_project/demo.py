"""The parts of ``manage.py demo``: a server, orders, callbacks about them, and tables of what became of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.utils.translation import gettext as _

from django_plugchat import simulation
from django_plugchat.models import DeliveryEvent
from django_plugchat.phones import mask_phone
from django_plugchat.testing import delivery_callback
from example_project.shop.models import Order

USERNAME = "admin"
PASSWORD = "admin"  # noqa: S105

#: The provider's own example.
EXAMPLE = {
    "phone": "554499999999",
    "customId": "123",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "type": "DeliveryCallback",
}


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def serving(port: int) -> Iterator[str]:
    """Serve the site and its static files on this machine; yields its URL. Raises OSError when the port is taken."""
    with ThreadedWSGIServer(("127.0.0.1", port), QuietHandler) as server:
        server.set_app(StaticFilesHandler(WSGIHandler()))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def create_admin() -> None:
    users = get_user_model()._default_manager
    if not users.filter(username=USERNAME).exists():
        users.create_superuser(USERNAME, password=PASSWORD)


def has_known_password() -> bool:
    """Whether the admin's password is still the demo's own."""
    return get_user_model()._default_manager.get(username=USERNAME).check_password(PASSWORD)


def place_orders() -> list[Order]:
    """The order of the provider's example, and five new ones."""
    example, _created = Order.objects.get_or_create(reference=EXAMPLE["customId"], defaults={"customer": "Ana Souza"})
    customers = ("Bruno Lima", "Carla Dias", "Davi Rocha", "Elisa Melo", "Fábio Reis")
    return [
        example,
        *(
            Order.objects.create(reference=f"PED-{secrets.token_hex(3).upper()}", customer=customer)
            for customer in customers
        ),
    ]


def callbacks_about(orders: Sequence[Order]) -> list[dict[str, Any]]:
    """One order is told, one twice over, one fails, one fails at first, and nothing is heard of the last."""
    told, again, failed, retried = (order.reference for order in orders[1:5])
    repeated = delivery_callback(customId=again)
    return [
        EXAMPLE,
        delivery_callback(customId=told),
        repeated,
        delivery_callback(customId=failed, error="Phone number does not exist"),
        delivery_callback(customId=retried, error="Timeout on send message"),
        delivery_callback(customId=retried),
        repeated,
        *simulation.callbacks(6, failures=34, duplicates=17),
    ]


def event_rows(since: datetime) -> list[Sequence[str]]:
    events = DeliveryEvent.objects.filter(last_received_at__gte=since).order_by("received_at", "pk")
    return [
        (_("Phone"), "customId", "zaapId", _("Outcome"), _("Error"), _("Times")),
        *(
            (
                mask_phone(event.phone),
                event.custom_id or "-",
                f"{event.zaap_id[:8]}…",
                event.get_outcome_display(),
                event.error or "-",
                str(event.times_received),
            )
            for event in events
        ),
    ]


def order_rows(orders: Iterable[Order]) -> list[Sequence[str]]:
    now = Order.objects.filter(pk__in=[order.pk for order in orders]).order_by("pk")
    return [
        (_("Reference"), _("Customer"), _("State"), _("Reason")),
        *((order.reference, order.customer, order.get_state_display(), order.reason or "-") for order in now),
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, and a line below the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled
    )
