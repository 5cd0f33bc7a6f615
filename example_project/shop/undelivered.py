from datetime import timedelta

from django.utils import timezone

from django_plugchat.models import DeliveryEvent
from example_project.shop.models import Order


def text_the_undelivered() -> list[Order]:
    """Send an SMS to whoever has not received their message after two hours. Each order is told once."""
    now = timezone.now()
    waiting = Order.objects.filter(whatsapp="sent", texted_at=None, sending_since__gte=now - timedelta(days=2))
    orders = {order.zaap_id: order for order in waiting}
    messages = DeliveryEvent.objects.for_account("default").filter(zaap_id__in=orders)
    texted = []
    for message in messages.undelivered(older_than=timedelta(hours=2)):
        order = orders[message.zaap_id]
        # Set before the SMS goes out, and by one of two that run at once: nobody gets two.
        if Order.objects.filter(pk=order.pk, texted_at=None).update(texted_at=now):
            send_sms(order.phone, f"Pedido {order.reference}: não conseguimos falar com você pelo WhatsApp.")
            texted.append(order)
    return texted


def send_sms(phone: str, text: str) -> None:
    """What your SMS provider asks for. Or open a task for somebody to call."""
