"""A project's own tables, whose rows need ours."""

# ruff: noqa: DJ008

from django.db import models

from django_plugchat.models import DeliveryEvent, RejectedCallback


class Receipt(models.Model):
    """Also by another field than the primary key."""

    event = models.ForeignKey(DeliveryEvent, models.PROTECT, related_name="+", null=True)
    fingerprint = models.ForeignKey(
        DeliveryEvent, models.PROTECT, related_name="+", to_field="fingerprint", null=True, db_column="fingerprint"
    )


class Dispute(models.Model):
    event = models.OneToOneField(DeliveryEvent, models.RESTRICT)


class Complaint(models.Model):
    rejected = models.ForeignKey(RejectedCallback, models.PROTECT)


class Reminder(models.Model):
    """Goes with its event, unless a fee needs it."""

    event = models.ForeignKey(DeliveryEvent, models.CASCADE)


class Fee(models.Model):
    reminder = models.ForeignKey(Reminder, models.PROTECT)


class Copy(models.Model):
    """Django does nothing about it, the database does."""

    event = models.ForeignKey(DeliveryEvent, models.DO_NOTHING)
