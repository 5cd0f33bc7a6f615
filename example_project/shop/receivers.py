from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import TellAgain, delivery_recorded
from example_project.shop.models import Order

LONGEST_SEND = timedelta(minutes=1)  # a send request is answered sooner, or never
FURTHEST_LAST = ["", "sent", "failed", "received", "read", "played"]


@receiver(delivery_recorded, sender=DeliveryEvent)
def mark_order(event: DeliveryEvent, **kwargs: Any) -> None:
    """Mark how far an order's message has come. Events come in any order, and more than once."""
    if event.outcome not in FURTHEST_LAST:
        return  # a later version of django_plugchat may add one
    # Asked before the orders: between the two questions the ids may be saved.
    started = Order.objects.filter(zaap_id="", sending_since__lte=event.received_at)
    is_being_sent = started.filter(sending_since__gt=timezone.now() - LONGEST_SEND).exists()
    # A status has no zaapId. Blank would be every order that is not sent yet.
    ids = [known for known in (event.zaap_id, event.message_id) if known]
    orders = Order.objects.filter(Q(zaap_id__in=ids) | Q(message_id__in=ids))
    earlier = FURTHEST_LAST[: FURTHEST_LAST.index(event.outcome)]
    orders.filter(whatsapp__in=earlier).update(whatsapp=event.outcome, problem=event.failure)
    if is_being_sent and not orders.exists():
        raise TellAgain(seconds=60)  # it may be about the message that is being sent
