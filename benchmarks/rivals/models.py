from django.db import models

from django_plugchat.models import DeliveryEvent


class FloorEvent(models.Model):
    """The columns and indexes of ``DeliveryEvent``, and none of its code."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["fingerprint"], name="floor_fingerprint")]
        indexes = [
            models.Index(fields=index.fields, name=index.name.replace("plugchat_event", "floor"))
            for index in DeliveryEvent._meta.indexes
        ]

    def __str__(self) -> str:
        return str(self.pk)


for _field in DeliveryEvent._meta.local_fields:
    if not _field.primary_key:
        _copy = models.JSONField() if _field.name == "payload" else _field.clone()
        FloorEvent.add_to_class(_field.name, _copy)


class TutorialDelivery(models.Model):
    """The provider's keys as they are called, as in a project that writes its own webhook; few indexes."""

    phone = models.CharField(max_length=64)
    zaapId = models.CharField(max_length=255, unique=True)  # noqa: N815
    customId = models.CharField(max_length=255, blank=True, db_index=True)  # noqa: N815
    messageId = models.CharField(max_length=255, blank=True)  # noqa: N815
    instanceId = models.CharField(max_length=255, blank=True)  # noqa: N815
    type = models.CharField(max_length=64)
    momment = models.BigIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    errorCode = models.CharField(max_length=255, blank=True)  # noqa: N815
    received_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.pk)


class GetOrCreateDelivery(models.Model):
    """The same in Python's names."""

    phone = models.CharField(max_length=64)
    zaap_id = models.CharField(max_length=255, unique=True)
    custom_id = models.CharField(max_length=255, blank=True, db_index=True)
    message_id = models.CharField(max_length=255, blank=True)
    instance_id = models.CharField(max_length=255, blank=True)
    type = models.CharField(max_length=64)
    momment = models.BigIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=255, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.pk)


class Tracking(models.Model):
    """What a receiver of django-anymail's ``tracking`` signal would store."""

    message_id = models.CharField(max_length=255)
    event_type = models.CharField(max_length=64)
    recipient = models.CharField(max_length=255)
    timestamp = models.DateTimeField(null=True)
    mta_response = models.TextField(blank=True)
    payload = models.JSONField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message_id", "event_type"], name="tracking_event")]

    def __str__(self) -> str:
        return str(self.pk)
