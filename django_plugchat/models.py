from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy as _

from django_plugchat.conf import PLUGCHAT, Z_API, app_settings
from django_plugchat.phones.numbers import mask_id, mask_phone
from django_plugchat.provider.errors import Failure
from django_plugchat.querysets import DeliveryEventQuerySet, PlugChatQuerySet


class IdField(models.CharField):  # type: ignore[type-arg]
    """An id, compared as it is on every engine: MariaDB's usual collations ignore case and spaces at the end."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
        return parameters


class _Model(models.Model):
    objects = PlugChatQuerySet.as_manager()

    class Meta:
        abstract = True


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

    account = IdField(_("account"), max_length=100)
    zaap_id = IdField("zaapId", max_length=255, blank=True)
    custom_id = IdField("customId", max_length=255, blank=True)
    message_id = IdField("messageId", max_length=255, blank=True)
    phone = models.CharField(_("phone"), max_length=64, blank=True)
    participant = models.CharField(_("participant"), max_length=64, blank=True)
    # What these are found by, however they are written.
    phone_digits = models.CharField(_("digits of the phone"), max_length=64, blank=True)
    participant_digits = models.CharField(_("digits of the participant"), max_length=64, blank=True)
    type = models.CharField(_("type"), max_length=64)
    instance_id = IdField("instanceId", max_length=255, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_code = models.TextField(_("error code"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome.choices)
    failure = models.CharField(_("failure"), max_length=10, choices=Failure.choices, blank=True)

    # The time that the provider gave.
    occurred_at = models.DateTimeField(_("occurred at"), null=True, blank=True)
    received_at = models.DateTimeField(_("received at"), default=timezone.now)
    last_received_at = models.DateTimeField(_("last received at"), default=timezone.now)
    times_received = models.PositiveIntegerField(_("times received"), default=1)
    payload = models.JSONField(_("payload"), default=dict)
    # The first 8 hex digits of the SHA-256 of the secret that it last came by.
    secret_id = IdField(_("secret id"), max_length=8)
    fingerprint = models.UUIDField(_("fingerprint"))

    dispatch_status = models.CharField(
        _("dispatch status"), max_length=9, choices=DispatchStatus.choices, default=DispatchStatus.NONE
    )
    dispatch_attempts = models.PositiveSmallIntegerField(_("dispatch attempts"), default=0)
    # When it may next be taken; null when never.
    dispatch_due_at = models.DateTimeField(_("dispatch due at"), null=True, blank=True)
    dispatched_at = models.DateTimeField(_("dispatched at"), null=True, blank=True)
    dispatch_error = models.TextField(_("dispatch error"), blank=True)
    # Not where receivers only asked to be told again.
    dispatch_failed = models.BooleanField(_("dispatch failed"), default=False)

    objects = DeliveryEventQuerySet.as_manager()

    class Meta:
        # As the admin shows them: by message.
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        # Not unique=True and db_index=True: on PostgreSQL those add a second index to each, for LIKE.
        constraints = [models.UniqueConstraint(fields=["fingerprint"], name="plugchat_event_fingerprint")]
        indexes = [
            models.Index(fields=["received_at", "id"], name="plugchat_event_received"),
            models.Index(fields=["type", "received_at", "id"], name="plugchat_event_type"),
            models.Index(fields=["account", "received_at", "id"], name="plugchat_event_account"),
            models.Index(fields=["account", "type", "received_at", "id"], name="plugchat_event_account_type"),
            models.Index(fields=["failure", "received_at", "id"], name="plugchat_event_failure"),
            # With the outcome, in whose order failed is before sent, and played, read, received before sent: how far a
            # message has come is the first row of each.
            models.Index(fields=["zaap_id", "outcome"], name="plugchat_event_zaap_id"),
            models.Index(fields=["custom_id"], name="plugchat_event_custom_id"),
            models.Index(fields=["message_id", "outcome"], name="plugchat_event_message_id"),
            models.Index(fields=["phone_digits"], name="plugchat_event_phone"),
            models.Index(fields=["participant_digits"], name="plugchat_event_participant"),
            models.Index(fields=["dispatch_due_at", "account", "id"], name="plugchat_event_due"),
            models.Index(fields=["dispatch_status", "received_at", "id"], name="plugchat_event_dispatch"),
        ]
        permissions = [
            ("view_phone", _("Can see whole phone numbers")),
            ("export_deliveryevent", _("Can export messages")),
            ("redispatch_deliveryevent", _("Can dispatch messages again")),
        ]

    def __str__(self) -> str:
        # Masked for everybody, since the admin's history keeps it. Some engines put the number into the ids they give.
        name = mask_phone(self.phone) if self.phone else mask_id(self.zaap_id or self.message_id)
        # Where a query asked for it, how far the message has come.
        outcome = getattr(self, "progress", self.outcome)
        return f"{name} ({dict(self.Outcome.choices).get(outcome, outcome)})"

    @property
    def is_temporary(self) -> bool:
        """Whether sending the message again may work. Look first whether it went out after all."""
        return self.failure == Failure.TEMPORARY


class RejectedCallback(_Model):
    """A callback that was refused, or whose status nobody knows yet: to the byte, decompressed, to be tried again."""

    class Reason(models.TextChoices):
        ENCODING = "encoding", _("Not what its Content-Encoding says")
        NOT_JSON = "not_json", _("Not JSON in UTF-8")
        NOT_OBJECT = "not_object", _("Not a JSON object")
        NOT_STORABLE = "not_storable", _("Holds what no database can store")
        INVALID = "invalid", _("A field is missing or unusable")
        DATABASE = "database", _("Refused by the database")
        UNKNOWN_STATUS = "unknown_status", _("A status that is not known yet")

    account = IdField(_("account"), max_length=100)
    secret_id = IdField(_("secret id"), max_length=8)
    received_at = models.DateTimeField(_("received at"), default=timezone.now)
    last_received_at = models.DateTimeField(_("last received at"), default=timezone.now)
    times_received = models.PositiveIntegerField(_("times received"), default=1)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason.choices)
    # The codes of what is wrong, by field; none of its values.
    errors = models.JSONField(_("errors"), default=dict, blank=True)
    body = models.BinaryField(_("body"))
    fingerprint = models.UUIDField(_("fingerprint"))

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


class Registration(_Model):
    """What this site registered last with PlugChat, for each webhook of an account. Holds no URL and no token."""

    account = IdField(_("account"), max_length=100)
    webhook = IdField(_("webhook"), max_length=64)
    secret_id = IdField(_("secret id"), max_length=8, blank=True)
    registered_at = models.DateTimeField(_("registered at"), default=timezone.now)

    class Meta:
        verbose_name = _("registration")
        verbose_name_plural = _("registrations")
        constraints = [models.UniqueConstraint(fields=["account", "webhook"], name="plugchat_registration_webhook")]

    def __str__(self) -> str:
        return f"{self.account}: {self.webhook}"


class Connection(_Model):
    """Whether a WhatsApp instance of an account is connected, as PlugChat said last. Holds no number."""

    account = IdField(_("account"), max_length=100)
    instance_id = IdField("instanceId", max_length=255, blank=True)
    is_connected = models.BooleanField(_("connected"))
    since = models.DateTimeField(_("since"))
    reported_at = models.DateTimeField(_("reported at"), default=timezone.now)

    class Meta:
        verbose_name = _("connection")
        # The admin shows them on the page about all accounts, which its index and sidebar call so.
        verbose_name_plural = _("how the accounts are doing")
        constraints = [models.UniqueConstraint(fields=["account", "instance_id"], name="plugchat_connection_instance")]

    def __str__(self) -> str:
        return f"{self.account}: {mask_id(self.instance_id)}"


class Account(_Model):
    """An account that came while the site ran; others are in the setting. Holds nothing confidential."""

    alias = IdField(_("alias"), max_length=100, help_text=_("Its name in the code and in events. Never changes."))
    label = models.CharField(_("label"), max_length=200, blank=True, help_text=_("What people read."))
    provider = models.CharField(
        _("provider"), max_length=20, choices=[(PLUGCHAT, "PlugChat"), (Z_API, "Z-API")], default=PLUGCHAT
    )
    instance = IdField(_("instance"), max_length=255, blank=True, help_text=_("Of Z-API: the id of the instance."))
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("The callbacks of an inactive account are refused.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [models.UniqueConstraint(fields=["alias"], name="plugchat_account_alias")]

    def __str__(self) -> str:
        return str(self.label or self.alias)

    def clean(self) -> None:
        if not self._state.adding:
            return
        alias = str(self.alias)  # None, where the field itself was refused
        if not alias.isprintable() or alias != alias.strip():
            text = gettext("An alias has only printable characters, and no space at its ends.")
            raise ValidationError({"alias": text})
        if self.alias in app_settings.accounts:
            raise ValidationError({"alias": gettext("An account of the settings has this alias.")})


class WebhookSecret(_Model):
    """A secret of an account of the database, accepted for as long as this row is there. Kept is its digest alone."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="secrets", verbose_name=_("account"))
    digest = IdField(_("digest"), max_length=64)
    secret_id = IdField(_("secret id"), max_length=8)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("webhook secret")
        verbose_name_plural = _("webhook secrets")
        constraints = [models.UniqueConstraint(fields=["digest"], name="plugchat_secret_digest")]

    def __str__(self) -> str:
        return str(self.secret_id)


class Notice(_Model):
    """A finding that a target of ``plugchat_status --notify`` was told and that has not gone since."""

    # Its SHA-256: an address may be confidential.
    target = IdField(_("target"), max_length=64)
    account = IdField(_("account"), max_length=100, blank=True)
    finding = IdField(_("finding"), max_length=40)
    told_at = models.DateTimeField(_("told at"), default=timezone.now)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        constraints = [models.UniqueConstraint(fields=["target", "account", "finding"], name="plugchat_notice_once")]

    def __str__(self) -> str:
        return f"{self.account}: {self.finding}"
