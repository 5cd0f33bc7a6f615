from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure

#: A send request is answered sooner, or never.
LONGEST_SEND = timedelta(minutes=1)


class OrderQuerySet(models.QuerySet["Order"]):
    def about(self, event: DeliveryEvent) -> "OrderQuerySet":
        """The order whose message the event is about."""
        # A status has no zaapId, and some messages have no messageId: blank would match every order that has none.
        ids = [known for known in (event.zaap_id, event.message_id) if known]
        matches = Q(zaap_id__in=ids) | Q(message_id__in=ids)
        if event.custom_id:
            # PlugChat's page "Ao enviar" has the sender's own id; whether a callback has it depends on how it was sent.
            matches |= Q(reference=event.custom_id, zaap_id="")
        return self.filter(matches)

    def being_sent(self, event: DeliveryEvent) -> "OrderQuerySet":
        """Orders that the event may be about: their message went out before it came, their ids are not saved yet."""
        since = timezone.now() - LONGEST_SEND
        return self.filter(zaap_id="", sending_since__gt=since, sending_since__lte=event.received_at)


class Order(models.Model):
    """An order whose customer is told by WhatsApp."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Not sent")
        RECEIVED = "received", _("Received")
        READ = "read", _("Read")

    reference = models.CharField(_("reference"), max_length=50, unique=True)
    customer = models.CharField(_("customer"), max_length=200)
    phone = models.CharField(_("phone"), max_length=20)
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    reason = models.CharField(
        _("reason"), max_length=10, choices=Failure.choices, blank=True, help_text=_("Why the message was not sent.")
    )
    sending_since = models.DateTimeField(_("sending since"), null=True, blank=True)
    # As the send request answers. Every callback about the message has one of them.
    zaap_id = models.CharField("zaapId", max_length=255, blank=True, db_index=True)
    message_id = models.CharField("messageId", max_length=255, blank=True, db_index=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.reference
