import secrets

from django.utils import timezone
from django.utils.translation import gettext as _

from example_project.shop.models import Order


def send_text(phone: str, message: str) -> dict[str, str]:
    """Stands in for PlugChat's ``send-text``: answers as that does, and sends nothing."""
    return {"zaapId": secrets.token_hex(16).upper(), "messageId": secrets.token_hex(16).upper()}


def tell_customer(order: Order) -> None:
    """Send the order's message, and keep the ids by which its callbacks will name it."""
    order.zaap_id = order.message_id = order.whatsapp = order.problem = ""
    order.sending_since = timezone.now()
    # Committed before the message goes out: a callback may come before the ids are saved.
    order.save()
    answer = send_text(order.phone, _("Your order %(order)s is on its way.") % {"order": order.reference})
    order.zaap_id, order.message_id = answer["zaapId"], answer["messageId"]
    order.save(update_fields=["zaap_id", "message_id"])
