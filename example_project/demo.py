"""The parts of ``manage.py demo``: a server, orders, callbacks about them, and tables of what became of them."""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_plugchat import accounts
from django_plugchat.management import simulation
from django_plugchat.models import Account, DeliveryEvent, RejectedCallback, WebhookSecret
from django_plugchat.phones.numbers import mask_phone
from django_plugchat.provider.callbacks import DELIVERY_CALLBACK
from django_plugchat.provider.errors import Failure
from django_plugchat.signals import delivery_recorded
from django_plugchat.testing import delivery_callback, message_status_callback
from example_project.shop.models import Order
from example_project.shop.sending import tell_customer

USERNAME = "admin"
PASSWORD = "admin"  # noqa: S105

CUSTOMERS = (
    "Bruno Lima",
    "Carla Dias",
    "Davi Rocha",
    "Elisa Melo",
    "Fábio Reis",
    "Gabriela Nunes",
    "Heitor Alves",
    "Iara Castro",
    "João Prado",
    "Lucas Pinto",
    "Karina Luz",
)
#: An account that is kept in the database, of the engine that PlugChat resells.
BRANCH = {"alias": "norte", "label": "Loja Norte", "provider": "z-api", "instance": "3B8D1E0F5A724C96A1D0E7F2B4C6985A"}
GROUP = "120363019502650977-group"
#: The one of the provider's page.
EXAMPLE = {
    "phone": "554499999999",
    "customId": "123",
    "zaapId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "messageId": "A20DA9C0183A2D35A260F53F5D2B9244",
    "type": DELIVERY_CALLBACK,
}
#: It lacks the zaapId.
UNUSABLE = {"type": DELIVERY_CALLBACK, "phone": "5544999999999", "customId": "124"}
INCOMING = {"type": "ReceivedCallback", "phone": "5544999999999", "text": {"message": "Obrigado!"}}


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
    """The order of the provider's example, and new ones."""
    ids = {"zaap_id": EXAMPLE["zaapId"], "message_id": EXAMPLE["messageId"]}
    example, _created = Order.objects.get_or_create(
        reference=EXAMPLE["customId"], defaults={"customer": "Ana Souza", "phone": EXAMPLE["phone"], **ids}
    )
    return [
        example,
        *(
            Order.objects.create(
                reference=f"PED-{secrets.token_hex(3).upper()}", customer=name, phone=delivery_callback()["phone"]
            )
            for name in CUSTOMERS
        ),
    ]


def delivery(order: Order, **overrides: Any) -> dict[str, Any]:
    """What comes when the order's message was sent, or was not."""
    return delivery_callback(phone=order.phone, zaapId=order.zaap_id, messageId=order.message_id, **overrides)


def status(order: Order, status: str) -> dict[str, Any]:
    return message_status_callback(phone=order.phone, ids=[order.message_id], status=status)


def story(order: Order) -> list[tuple[str, dict[str, Any]]]:
    """All that comes about a message until it is read."""
    statuses = ("SENT", "RECEIVED", "READ")
    return [(DELIVERY_CALLBACK, delivery(order)), *((said, status(order, said)) for said in statuses)]


def others(orders: Sequence[Order]) -> list[dict[str, Any]]:
    """The provider's own example first, then a message of each kind to look at."""
    received, *failed, again, unreached, _unheard = orders[2:]
    for order in (received, *failed, again, unreached):
        tell_customer(order)
    callbacks = [
        EXAMPLE,
        delivery(received),
        status(received, "RECEIVED"),
        *(delivery(order, **simulation.FAILURES[kind][-1]) for order, kind in zip(failed, Failure.values, strict=True)),
        delivery(again, error="Timeout on send message"),
        delivery(unreached),
    ]
    tell_customer(again)
    repeated = delivery(again)
    random = simulation.callbacks(20, statuses=50)
    return [*callbacks, repeated, *to_a_group(), *simulation.connection_and_reading(), INCOMING, *random, repeated]


def make_it_yesterdays(order: Order) -> None:
    """As if the order's message had gone out a day ago, and nobody had received it since."""
    yesterday = timezone.now() - timedelta(days=1)
    Order.objects.filter(pk=order.pk).update(sending_since=yesterday)
    events = DeliveryEvent.objects.for_message(order.zaap_id)
    events.update(occurred_at=yesterday, received_at=yesterday, last_received_at=yesterday)


def branch_secret() -> str:
    """A new secret of the branch's account. The database has digests alone: those of earlier runs nobody knows."""
    alias = BRANCH["alias"]
    if not Account.objects.filter(alias=alias).exists():
        accounts.add(**BRANCH)
    for known in WebhookSecret.objects.filter(account__alias=alias):
        accounts.retire(alias, known.secret_id)
    return accounts.new_secret(alias)


def to_a_group() -> list[dict[str, Any]]:
    """Both participants got it, one has read it. It is about no order."""
    message = delivery_callback(phone=GROUP)
    ana, bruno = "5511999999999", "5521988888888"
    return [
        message,
        *(
            message_status_callback(
                phone=GROUP, ids=[message["messageId"]], status=status, participant=participant, isGroup=True
            )
            for participant, status in ((ana, "RECEIVED"), (bruno, "RECEIVED"), (ana, "READ"))
        ),
    ]


COURIER, COURIER_IS_BACK = "courier", 3


def call_courier(event: DeliveryEvent, **kwargs: Any) -> None:
    """A receiver whose other end is away until the third attempt."""
    if event.custom_id == COURIER and event.dispatch_attempts < COURIER_IS_BACK:
        raise ConnectionError


@contextmanager
def calling_courier() -> Iterator[None]:
    delivery_recorded.connect(call_courier, sender=DeliveryEvent)
    try:
        yield
    finally:
        delivery_recorded.disconnect(call_courier, sender=DeliveryEvent)


@contextmanager
def locked_database() -> Iterator[None]:
    """As if another program were writing: SQLite has one writer at a time."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def quietly() -> Iterator[None]:
    """Without the log records of what is meant to fail."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def message_rows(since: datetime) -> list[Sequence[str]]:
    events = list(DeliveryEvent.objects.deliveries().filter(last_received_at__gte=since).order_by("received_at", "pk"))
    progress = DeliveryEvent.objects.progress(*(event.zaap_id for event in events))
    return [
        (_("Phone"), "zaapId", "customId", _("How far"), _("Why not"), _("Times")),
        *(
            (
                mask_phone(event.phone),
                f"{event.zaap_id[:8]}…",
                event.custom_id or "-",
                str(DeliveryEvent.Outcome(progress[event.zaap_id]).label),
                str(Failure(event.failure).label) if event.failure else "-",
                str(event.times_received),
            )
            for event in events
        ),
    ]


def order_rows(orders: Iterable[Order]) -> list[Sequence[str]]:
    now = Order.objects.filter(pk__in=[order.pk for order in orders]).order_by("pk")
    return [
        (_("Reference"), _("Customer"), "WhatsApp", _("Problem")),
        *((order.reference, order.customer, whatsapp(order), order.get_problem_display() or "-") for order in now),
    ]


def whatsapp(order: Order) -> str:
    return order.get_whatsapp_display() or _("Waiting")


def places(read: Order, unreached: Order) -> Iterator[tuple[str, str]]:
    """Pages of the admin worth a look, each with its path."""
    deliveries = DeliveryEvent.objects.deliveries().order_by("-pk")

    def message(**known: str) -> str:
        return reverse("admin:django_plugchat_deliveryevent_change", args=[deliveries.filter(**known)[0].pk])

    rejected = RejectedCallback.objects.latest("last_received_at")
    yield _("A message that was read:"), message(zaap_id=read.zaap_id)
    yield _("Its order:"), reverse("admin:shop_order_change", args=[read.pk])
    yield _("One that nobody received:"), message(zaap_id=unreached.zaap_id)
    yield _("A message to a group:"), message(phone=GROUP)
    yield _("A receiver failed, and waits:"), message(custom_id=COURIER)
    yield (
        _("A callback that was refused:"),
        reverse("admin:django_plugchat_rejectedcallback_change", args=[rejected.pk]),
    )
    yield _("The orders:"), reverse("admin:shop_order_changelist")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, and a line below the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled
    )
