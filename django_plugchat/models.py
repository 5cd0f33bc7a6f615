from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Self, TypeVar

from django.db import DataError, Error, IntegrityError, connections, models, router, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException

from django_plugchat.conf import app_settings
from django_plugchat.parsers import PayloadEncoder, parse
from django_plugchat.phones import mask_number_in

T = TypeVar("T")


def _reconnecting(alias: str, operation: Callable[[], T]) -> T:
    """Run it; once more on a new connection where the old one turns out to have died, as an idle one may."""
    connection = connections[alias]
    try:
        return operation()
    except Error:
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
        if pool := getattr(connection, "pool", None):
            pool.check()  # its other connections have died as well
        return operation()


def refuses_content(error: Error) -> bool:
    """Whether the database can't hold what it was given, however often it is tried."""
    # 1366 is MariaDB's for characters outside the column's character set.
    return isinstance(error, DataError) or error.args[:1] == (1366,)


def savepoint(alias: str) -> AbstractContextManager[Any]:
    """What lets a statement fail inside somebody else's transaction; nothing in autocommit mode."""
    return transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext()


class ByAccount(models.QuerySet[Any]):
    def for_account(self, alias: str) -> Self:
        return self.filter(account=alias)

    def _count_again(self, *, times: int, last_received_at: datetime, **changes: Any) -> int:
        return self.update(
            times_received=F("times_received") + times,
            # Whoever came first may be written last.
            last_received_at=Greatest(F("last_received_at"), last_received_at),
            **changes,
        )


class DeliveryEventQuerySet(ByAccount):
    def for_zaap_id(self, zaap_id: str | int | None) -> Self:
        """Blank or None finds nothing."""
        return self._for_id("zaap_id", zaap_id)

    def for_custom_id(self, custom_id: str | int | None) -> Self:
        """Blank or None finds nothing, not the events without a customId."""
        return self._for_id("custom_id", custom_id)

    def _for_id(self, field: str, value: str | int | None) -> Self:
        if value is None or not str(value).strip():
            return self.none()
        return self.filter(**{field: str(value)})

    def sent(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.SENT)

    def failed(self) -> Self:
        return self.filter(outcome=DeliveryEvent.Outcome.FAILED)

    def due(self) -> Self:
        """Events whose dispatch may be attempted now: never tried, failed, or tried by a worker that died."""
        return self.filter(
            dispatch_status__in=[DeliveryEvent.DispatchStatus.PENDING, DeliveryEvent.DispatchStatus.FAILED],
            dispatch_due_at__lte=timezone.now(),
        )

    def record(
        self,
        values: dict[str, Any],
        *,
        account: str,
        secret_id: str,
        times: int = 1,
        received_at: datetime | None = None,
        last_received_at: datetime | None = None,
    ) -> DeliveryEvent | None:
        """Store an event once, and hand a new one to the dispatcher when it is committed.

        ``values`` come from ``serializers.event_values``. Returns the new event, or None when it was known: then it
        was found and counted. One statement for a new event in autocommit mode, two for a known one. Raises
        ``django.db.Error``.
        """
        from django_plugchat import dispatch

        alias = router.db_for_write(self.model)
        received_at = received_at or timezone.now()
        last_received_at = last_received_at or received_at
        values = dict(values)
        event = DeliveryEvent(
            account=account,
            secret_id=secret_id,
            fingerprint=fingerprint(account, values.pop("identity")),
            received_at=received_at,
            last_received_at=last_received_at,
            times_received=times,
            **values,
            **dispatch.opening_state(),
        )

        def insert() -> bool:
            with savepoint(alias):
                event.save(force_insert=True, using=alias)
            return True

        def insert_or_count() -> bool:
            try:
                return insert()
            except IntegrityError:
                if (
                    self.using(alias)
                    .filter(fingerprint=event.fingerprint)
                    ._count_again(times=times, last_received_at=last_received_at, secret_id=secret_id)
                ):
                    return False
                # Deleted in between; or the error is not the fingerprint's, and is raised again.
                return insert()

        if not _reconnecting(alias, insert_or_count):
            return None
        dispatch.after_commit(event)
        return event


class RejectedCallbackQuerySet(ByAccount):
    def has_at_least(self, rows: int) -> bool:
        """Without counting more than that."""
        return rows < 1 or self.order_by("pk")[rows - 1 : rows].exists()

    def record(self, *, account: str, secret_id: str, body: bytes, reason: str, errors: Any) -> bool:
        """Keep a refused body, once. Returns False when the account's ``MAX_REJECTED`` are kept already.

        Raises ``django.db.Error``.
        """
        alias = router.db_for_write(self.model)
        rows = self.using(alias)
        now = timezone.now()
        rejected = RejectedCallback(
            account=account,
            secret_id=secret_id,
            received_at=now,
            last_received_at=now,
            reason=reason,
            errors=errors,
            body=body,
            fingerprint=hashlib.sha256(account.encode() + b"\0" + body).hexdigest(),
        )

        def count_again() -> int:
            return rows.filter(fingerprint=rejected.fingerprint)._count_again(
                times=1, last_received_at=now, secret_id=secret_id, reason=reason, errors=errors
            )

        def keep() -> bool:
            if count_again():
                return True
            limit = app_settings.max_rejected
            of_account = rows.for_account(account)
            if of_account.has_at_least(limit):
                return False
            try:
                with savepoint(alias):
                    rejected.save(force_insert=True, using=alias)
            except IntegrityError:
                if not count_again():
                    raise
                return True
            # Others may have inserted since the first look: the first of all stay.
            surplus = list(of_account.order_by("pk").values_list("pk", flat=True)[limit:])
            if surplus:
                rows.filter(pk__in=surplus).delete()
            return rejected.pk not in surplus

        return _reconnecting(alias, keep)


def fingerprint(account: str, identity: list[Any]) -> str:
    """SHA-256 over what makes an event the same one. Stored rows depend on it: it never changes."""
    text = json.dumps([account, *identity], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class DeliveryEvent(models.Model):
    """What PlugChat said about a message: handed to WhatsApp, or failed.

    Never that the contact received it: that is another of the provider's callbacks.
    """

    class Outcome(models.TextChoices):
        SENT = "sent", _("Handed to WhatsApp")
        FAILED = "failed", _("Not sent")

    class DispatchStatus(models.TextChoices):
        NONE = "none", _("No receiver")
        PENDING = "pending", _("In the queue")
        DONE = "done", _("Processed")
        FAILED = "failed", _("Processing failed")

    account = models.CharField(_("account"), max_length=100)
    zaap_id = models.CharField("zaapId", max_length=255)
    custom_id = models.CharField("customId", max_length=255, blank=True)
    message_id = models.CharField("messageId", max_length=255, blank=True)
    phone = models.CharField(_("phone"), max_length=64)
    type = models.CharField(_("type"), max_length=64)
    instance_id = models.CharField("instanceId", max_length=255, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_code = models.TextField(_("error code"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=6, choices=Outcome.choices)

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
        _("dispatch status"), max_length=7, choices=DispatchStatus.choices, default=DispatchStatus.NONE
    )
    dispatch_attempts = models.PositiveSmallIntegerField(_("dispatch attempts"), default=0)
    dispatch_due_at = models.DateTimeField(
        _("dispatch due at"), null=True, blank=True, help_text=_("When it may next be taken; empty when never.")
    )
    # A sweep that hands an event to a queue can't know how long the queue is: it leaves the event alone until then.
    dispatch_sweep_after = models.DateTimeField(_("not swept before"), null=True, blank=True)
    dispatched_at = models.DateTimeField(_("dispatched at"), null=True, blank=True)
    dispatch_error = models.TextField(_("dispatch error"), blank=True)

    objects = DeliveryEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery event")
        verbose_name_plural = _("delivery events")
        # Not unique=True and db_index=True: on PostgreSQL those add a second index to each, for LIKE.
        constraints = [models.UniqueConstraint(fields=["fingerprint"], name="plugchat_event_fingerprint")]
        indexes = [
            models.Index(fields=["received_at", "id"], name="plugchat_event_received"),
            models.Index(fields=["account", "received_at"], name="plugchat_event_account"),
            models.Index(fields=["outcome", "received_at"], name="plugchat_event_outcome"),
            models.Index(fields=["zaap_id"], name="plugchat_event_zaap_id"),
            models.Index(fields=["custom_id"], name="plugchat_event_custom_id"),
            models.Index(fields=["message_id"], name="plugchat_event_message_id"),
            models.Index(fields=["phone"], name="plugchat_event_phone"),
            models.Index(fields=["dispatch_due_at", "id"], name="plugchat_event_due"),
            models.Index(fields=["dispatch_status", "received_at", "id"], name="plugchat_event_dispatch"),
        ]
        permissions = [
            ("view_phone", _("Can see whole phone numbers")),
            ("export_deliveryevent", _("Can export delivery events")),
            ("redispatch_deliveryevent", _("Can dispatch delivery events again")),
        ]

    def __str__(self) -> str:
        # Some WhatsApp engines put the number into the ids that they give.
        return f"{mask_number_in(self.zaap_id, self.phone)} ({self.get_outcome_display()})"


class RejectedCallback(models.Model):
    """A callback that was answered 400, kept to the byte, so that it can be read and tried again."""

    class Reason(models.TextChoices):
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

    def replay(self) -> DeliveryEvent | None:
        """Try it again with today's code.

        On success returns the event, with this callback's first ``received_at``, and deletes this row. Returns None
        when it is still refused, or was replayed meanwhile. Raises ``django.db.Error``.
        """
        from django_plugchat.serializers import event_values

        try:
            values = event_values(parse(bytes(self.body)))
        except APIException:
            return None
        alias = router.db_for_write(DeliveryEvent)
        events = DeliveryEvent.objects.using(alias)
        try:
            with transaction.atomic(using=alias):
                deleted, _by_model = RejectedCallback.objects.using(alias).filter(pk=self.pk).delete()
                if not deleted:
                    return None
                return events.record(
                    values,
                    account=self.account,
                    secret_id=self.secret_id,
                    times=self.times_received,
                    received_at=self.received_at,
                    last_received_at=self.last_received_at,
                ) or events.get(fingerprint=fingerprint(self.account, values["identity"]))
        except Error as error:
            if refuses_content(error):
                return None
            raise
