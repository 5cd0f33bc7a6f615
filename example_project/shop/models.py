from django.db import models
from django.utils.translation import gettext_lazy as _


class Order(models.Model):
    """An order whose customer is told by WhatsApp, in a message sent with the reference as its customId."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        TOLD = "told", _("Customer told")
        FAILED = "failed", _("Not told")

    reference = models.CharField(_("reference"), max_length=50, unique=True)
    customer = models.CharField(_("customer"), max_length=200)
    state = models.CharField(_("state"), max_length=7, choices=State.choices, default=State.WAITING)
    reason = models.TextField(_("reason"), blank=True, help_text=_("Why the customer could not be told."))

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.reference
