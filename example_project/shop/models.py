from django.db import models
from django.utils.translation import gettext_lazy as _

from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure


class Order(models.Model):
    """An order whose customer is told by WhatsApp."""

    reference = models.CharField(_("reference"), max_length=50, unique=True)
    customer = models.CharField(_("customer"), max_length=200)
    phone = models.CharField(_("phone"), max_length=20)
    sending_since = models.DateTimeField(_("sending since"), null=True, blank=True)
    # As the send request answers. Every callback about the message has one of them.
    zaap_id = models.CharField("zaapId", max_length=255, blank=True, db_index=True)
    message_id = models.CharField("messageId", max_length=255, blank=True, db_index=True)
    # How far the message has come, and why it was not sent.
    whatsapp = models.CharField("WhatsApp", max_length=8, choices=DeliveryEvent.Outcome.choices, blank=True)
    problem = models.CharField(_("problem"), max_length=10, choices=Failure.choices, blank=True)
    # When the customer got an SMS instead, since nobody received the message.
    texted_at = models.DateTimeField(_("texted at"), null=True, blank=True)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.reference
