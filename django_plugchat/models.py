from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from django.db import models, router
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_plugchat import failures, provider
from django_plugchat.payloads import PayloadEncoder
from django_plugchat.phones import mask_id


class PlugChatQuerySet(models.QuerySet[Any]):
    def for_account(self, alias: str) -> Self:
        return self.filter(account=alias)

    def for_writing(self) -> Self:
        """On the database that is written: a replica may lag behind what was decided a moment ago."""
        return self.using(router.db_for_write(self.model))

    def in_batches(self, size: int, by: str = "pk") -> Iterator[list[Any]]:
        """Walk along the index of a field, ``-field`` backwards: flat memory, and nothing open between batches.

        A server-side cursor would need a transaction for as long as the walk takes, which a pooler does not keep.
        """
        field, backwards = by.removeprefix("-"), by.startswith("-")
        rows = self.order_by(by, "-pk" if backwards else "pk")
        comparison = "lt" if backwards else "gt"
        batch = list(rows[:size])
        while batch:
            # Before the batch is handed out, which may change its rows.
            last, last_pk = getattr(batch[-1], field), batch[-1].pk
            yield batch
            beyond = Q(**{f"{field}__{comparison}": last}) | Q(**{field: last, f"pk__{comparison}": last_pk})
            # The first condition is implied by the second; by it the database finds where to begin.
            batch = list(rows.filter(**{f"{field}__{comparison}e": last}).filter(beyond)[:size])


class DeliveryEventQuerySet(PlugChatQuerySet):
    def for_zaap_id(self, zaap_id: str | int | None) -> Self:
        """Blank or None finds nothing."""
        return self.filter(zaap_id__in=_usable([zaap_id]))

    def for_custom_id(self, custom_id: str | int | None) -> Self:
        """Blank or None finds nothing, not the events without a customId."""
        return self.filter(custom_id__in=_usable([custom_id]))

    def for_message(self, *ids: str | int | None) -> Self:
        """All that was said about messages, by the zaapId or messageId that the answer to their sending gave.

        Statuses name a message by its messageId alone. Which one belongs to a zaapId its delivery callback says: for
        that this asks the database at once. Blank or None finds nothing.
        """
        usable = _usable(ids)
        if not usable:
            return self.none()
        # Not a subquery: beside an OR, PostgreSQL would read the whole table.
        delivered = self.order_by().filter(zaap_id__in=usable).exclude(message_id="")
        followed = Q(type=provider.MESSAGE_STATUS_CALLBACK, message_id__in=set(delivered.values_list("message_id", flat=True)))
        return self.filter(Q(zaap_id__in=usable) | Q(message_id__in=usable) | followed)

    def progress(self, *ids: str | int | None) -> dict[str, str]:
        """How far each message has come: ``{id: outcome}``, without the ids that nothing is known of.

        ``ids`` are zaapIds or messageIds. Of several outcomes the furthest counts: played, read, received, failed, sent.
        One statement.
        """
        usable = _usable(ids)
        if not usable:
            return {}
        rows = self.order_by().values_list("zaap_id", "message_id", "outcome")
        of_zaap = rows.filter(zaap_id__in=usable)
        followed = rows.filter(
            type=provider.MESSAGE_STATUS_CALLBACK,
            message_id__in=of_zaap.exclude(message_id="").values("message_id"),
        )
        # A union, each part of which has its index: PostgreSQL finds none for an OR with a subquery.
        found = list(of_zaap.union(rows.filter(message_id__in=usable), followed))
        outcomes: dict[str, set[str]] = {wanted: set() for wanted in usable}
        statuses: dict[str, set[str]] = {}
        for zaap_id, message_id, outcome in found:
            for known in {zaap_id, message_id} & outcomes.keys():
                outcomes[known].add(outcome)
            if not zaap_id:
                statuses.setdefault(message_id, set()).add(outcome)
        for zaap_id, message_id, _outcome in found:
            if zaap_id in outcomes:
                outcomes[zaap_id] |= statuses.get(message_id, set())
        return {wanted: max(said, key=_FURTHEST_LAST.index) for wanted, said in outcomes.items() if said}

    def deliveries(self) -> Self:
        """Delivery callbacks, of which each message has one that was sent or failed: what ratios count."""
        return self.filter(type=provider.DELIVERY_CALLBACK)

    def statuses(self) -> Self:
        return self.filter(type=provider.MESSAGE_STATUS_CALLBACK)

    def sent(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.SENT)

    def failed(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.FAILED)

    def received(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.RECEIVED)

    def read(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.READ)

    def failed_because(self, kind: str) -> Self:
        """Failed ones of one kind of ``failures.Failure``."""
        return self.failed().alias(**failures.PLAIN_ERROR).filter(failures.of_kind(kind))

    def unfinished(self) -> Self:
        """Events that are to be dispatched, now or later."""
        return self.filter(dispatch_due_at__isnull=False)

    def due(self) -> Self:
        """Events that a sweep may take now: never tried, to be tried again, or left by a worker that died."""
        return self.filter(dispatch_due_at__lte=timezone.now())


def _usable(ids: Any) -> list[str]:
    return [text for value in ids if value is not None and (text := str(value)).strip()]


class RejectedCallbackQuerySet(PlugChatQuerySet):
    def has_at_least(self, rows: int) -> bool:
        """Without counting more than that."""
        return rows < 1 or self.order_by("pk")[rows - 1 : rows].exists()


class DeliveryEvent(models.Model):
    """What PlugChat said about a message, once: that it was handed to WhatsApp or failed, was received, read, played.

    ``sent`` never says that the contact received it. ``zaap_id`` is blank where a status callback said it.
    """

    class Outcome(models.TextChoices):
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Not sent")
        RECEIVED = "received", _("Received")
        READ = "read", _("Read")
        PLAYED = "played", _("Played")

    class DispatchStatus(models.TextChoices):
        NONE = "none", _("No receiver")
        PENDING = "pending", _("Waiting")
        RUNNING = "running", _("Running")
        RETRYING = "retrying", _("Will try again")
        DONE = "done", _("Done")
        EXHAUSTED = "exhausted", _("Given up")

    account = models.CharField(_("account"), max_length=100)
    zaap_id = models.CharField("zaapId", max_length=255, blank=True)
    custom_id = models.CharField("customId", max_length=255, blank=True)
    message_id = models.CharField("messageId", max_length=255, blank=True)
    phone = models.CharField(_("phone"), max_length=64, blank=True, help_text=_("As it came."))
    participant = models.CharField(
        _("participant"), max_length=64, blank=True, help_text=_("Of a group: whose status it is.")
    )
    # What phones are found by, however they are written.
    phone_digits = models.CharField(_("digits of the phone"), max_length=64, blank=True)
    participant_digits = models.CharField(_("digits of the participant"), max_length=64, blank=True)
    type = models.CharField(_("type"), max_length=64)
    instance_id = models.CharField("instanceId", max_length=255, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_code = models.TextField(_("error code"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome.choices)

    occurred_at = models.DateTimeField(
        _("occurred at"), null=True, blank=True, help_text=_("The time that the provider gave, if it gave one.")
    )
    received_at = models.DateTimeField(_("received at"), default=timezone.now)
    last_received_at = models.DateTimeField(_("last received at"), default=timezone.now)
    times_received = models.PositiveIntegerField(_("times received"), default=1)
    payload = models.JSONField(_("payload"), default=dict, encoder=PayloadEncoder)
    secret_id = models.CharField(
        _("secret id"), max_length=8, help_text=_("The first 8 hex digits of the SHA-256 of the webhook secret used.")
    )
    fingerprint = models.CharField(_("fingerprint"), max_length=64)

    dispatch_status = models.CharField(
        _("dispatch status"), max_length=9, choices=DispatchStatus.choices, default=DispatchStatus.NONE
    )
    dispatch_attempts = models.PositiveSmallIntegerField(_("dispatch attempts"), default=0)
    dispatch_due_at = models.DateTimeField(
        _("dispatch due at"), null=True, blank=True, help_text=_("When it may next be taken; empty when never.")
    )
    dispatched_at = models.DateTimeField(_("dispatched at"), null=True, blank=True)
    dispatch_error = models.TextField(_("dispatch error"), blank=True)

    objects = DeliveryEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("message event")
        verbose_name_plural = _("message events")
        # Not unique=True and db_index=True: on PostgreSQL those add a second index to each, for LIKE.
        constraints = [models.UniqueConstraint(fields=["fingerprint"], name="plugchat_event_fingerprint")]
        indexes = [
            models.Index(fields=["received_at", "id"], name="plugchat_event_received"),
            models.Index(fields=["type", "received_at", "id"], name="plugchat_event_type"),
            models.Index(fields=["account", "received_at", "id"], name="plugchat_event_account"),
            models.Index(fields=["account", "type", "received_at", "id"], name="plugchat_event_account_type"),
            models.Index(fields=["outcome", "received_at", "id"], name="plugchat_event_outcome"),
            models.Index(fields=["zaap_id"], name="plugchat_event_zaap_id"),
            models.Index(fields=["custom_id"], name="plugchat_event_custom_id"),
            models.Index(fields=["message_id"], name="plugchat_event_message_id"),
            models.Index(fields=["phone_digits"], name="plugchat_event_phone"),
            models.Index(fields=["participant_digits"], name="plugchat_event_participant"),
            models.Index(fields=["dispatch_due_at", "account", "id"], name="plugchat_event_due"),
            models.Index(fields=["dispatch_status", "received_at", "id"], name="plugchat_event_dispatch"),
        ]
        permissions = [
            ("view_phone", _("Can see whole phone numbers")),
            ("export_deliveryevent", _("Can export message events")),
            ("redispatch_deliveryevent", _("Can dispatch message events again")),
        ]

    def __str__(self) -> str:
        # Some WhatsApp engines put the number into the ids that they give.
        return f"{mask_id(self.zaap_id or self.message_id)} ({self.get_outcome_display()})"

    @property
    def failure(self) -> str:
        """Why a failed one failed, a value of ``failures.Failure``; "" for all others."""
        if self.outcome != self.Outcome.FAILED:
            return ""
        return failures.kind_of(self.error, self.error_code)

    @property
    def is_temporary(self) -> bool:
        """Whether sending the message again may work. Look first whether it went out after all."""
        return self.failure == failures.Failure.TEMPORARY


#: For ``progress``: read comes after received, whatever came first.
_FURTHEST_LAST = [
    DeliveryEvent.Outcome.SENT,
    DeliveryEvent.Outcome.FAILED,
    DeliveryEvent.Outcome.RECEIVED,
    DeliveryEvent.Outcome.READ,
    DeliveryEvent.Outcome.PLAYED,
]


class RejectedCallback(models.Model):
    """A callback that was answered 400, kept so that it can be read and tried again: to the byte, decompressed."""

    class Reason(models.TextChoices):
        ENCODING = "encoding", _("Not what its Content-Encoding says")
        NOT_JSON = "not_json", _("Not JSON in UTF-8")
        NOT_OBJECT = "not_object", _("Not a JSON object")
        NOT_STORABLE = "not_storable", _("Holds what no database can store")
        INVALID = "invalid", _("A field is missing or unusable")
        DATABASE = "database", _("Refused by the database")

    account = models.CharField(_("account"), max_length=100)
    secret_id = models.CharField(_("secret id"), max_length=8)
    received_at = models.DateTimeField(_("received at"), default=timezone.now)
    last_received_at = models.DateTimeField(_("last received at"), default=timezone.now)
    times_received = models.PositiveIntegerField(_("times received"), default=1)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason.choices)
    errors = models.JSONField(
        _("errors"), default=dict, blank=True, help_text=_("The codes of what is wrong, by field; none of its values.")
    )
    body = models.BinaryField(_("body"))
    search_terms = models.TextField(
        _("search terms"), blank=True, help_text=_("The digits of the numbers and the ids in the body, one a line.")
    )
    fingerprint = models.CharField(_("fingerprint"), max_length=64)

    objects = RejectedCallbackQuerySet.as_manager()

    class Meta:
        verbose_name = _("rejected callback")
        verbose_name_plural = _("rejected callbacks")
        constraints = [models.UniqueConstraint(fields=["fingerprint"], name="plugchat_rejected_fingerprint")]
        indexes = [
            models.Index(fields=["received_at", "id"], name="plugchat_rejected_received"),
            models.Index(fields=["account", "id"], name="plugchat_rejected_account"),
        ]
        permissions = [("replay_rejectedcallback", _("Can replay rejected callbacks"))]

    def __str__(self) -> str:
        return f"{self.pk} ({self.get_reason_display()})"

    @property
    def body_text(self) -> str:
        """The body for reading: bytes that are not UTF-8 become U+FFFD."""
        return bytes(self.body).decode(errors="replace")


class Registration(models.Model):
    """What this site registered last with PlugChat, for each webhook of an account. Holds no URL and no token."""

    account = models.CharField(_("account"), max_length=100)
    webhook = models.CharField(_("webhook"), max_length=64, help_text=_("PlugChat's name of it."))
    secret_id = models.CharField(_("secret id"), max_length=8, blank=True)
    registered_at = models.DateTimeField(_("registered at"), default=timezone.now)

    objects = PlugChatQuerySet.as_manager()

    class Meta:
        verbose_name = _("registration")
        verbose_name_plural = _("registrations")
        constraints = [models.UniqueConstraint(fields=["account", "webhook"], name="plugchat_registration_webhook")]

    def __str__(self) -> str:
        return f"{self.account}: {self.webhook}"
