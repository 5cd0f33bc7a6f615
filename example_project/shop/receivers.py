from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import delivery_recorded
from example_project.shop.models import Order


@receiver(delivery_recorded)
def mark_order(event: DeliveryEvent, **kwargs: Any) -> None:
    """Mark the order that the message was about.

    Events come at least once and in no order. Each statement decides by the row as it then is, and an order once
    told stays told: whatever comes again, late or at the same time, the end is the same.
    """
    orders = Order.objects.filter(reference=event.custom_id)
    if event.outcome == DeliveryEvent.Outcome.SENT:
        orders.update(state=Order.State.TOLD, reason="")
    else:
        # The first reason stays: the event of a second failure may have come late.
        orders.filter(state=Order.State.WAITING).update(
            state=Order.State.FAILED, reason=event.error or event.error_code
        )
