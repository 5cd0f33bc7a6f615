from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import TellAgain, delivery_recorded
from example_project.shop.models import Order

STATES: dict[str, Order.State] = {
    DeliveryEvent.Outcome.SENT: Order.State.SENT,
    DeliveryEvent.Outcome.FAILED: Order.State.FAILED,
    DeliveryEvent.Outcome.RECEIVED: Order.State.RECEIVED,
    DeliveryEvent.Outcome.READ: Order.State.READ,
    DeliveryEvent.Outcome.PLAYED: Order.State.READ,
}
FURTHEST_LAST = [
    Order.State.WAITING,
    Order.State.SENT,
    Order.State.FAILED,
    Order.State.RECEIVED,
    Order.State.READ,
]


@receiver(delivery_recorded, sender=DeliveryEvent)
def mark_order(event: DeliveryEvent, **kwargs: Any) -> None:
    """Mark how far the message about an order has come.

    Events come at least once and in no order. One statement decides by the row as it then is, and never takes an order
    back: whatever comes again, late or at the same time, the end is the same.
    """
    state = STATES.get(event.outcome)
    if state is None:  # one that a later version of django_plugchat adds
        return
    # Asked first: between the two questions the ids may be saved.
    may_be_early = Order.objects.being_sent(event).exists()
    orders = Order.objects.about(event)
    earlier = FURTHEST_LAST[: FURTHEST_LAST.index(state)]
    orders.filter(state__in=earlier).update(state=state, reason=event.failure)
    if may_be_early and not orders.exists():
        raise TellAgain(seconds=60)
