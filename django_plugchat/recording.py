"""The only writer of events and rejected callbacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import Error, IntegrityError, connections, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException

from django_plugchat import dispatch, payloads, serializers, statements, tasks
from django_plugchat.conf import Caller, app_settings
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones import numbers
from django_plugchat.provider.errors import kind_of
from django_plugchat.serializers import Callback

_Status = DeliveryEvent.DispatchStatus


class ContentRefused(APIException):
    """The database can't hold what a callback says, however often it is tried."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _("The database can't store this callback.")
    default_code = RejectedCallback.Reason.DATABASE


@dataclass(frozen=True)
class Receipt:
    """By which secret, when and how often a callback came."""

    account: str
    secret_id: str
    received_at: datetime = field(default_factory=timezone.now)
    last_received_at: datetime | None = None
    times: int = 1

    @classmethod
    def of(cls, caller: Caller) -> Receipt:
        return cls(caller.account, caller.secret_id)


def record(callbacks: Iterable[Callback], receipt: Receipt) -> list[DeliveryEvent]:
    """Store each event once, all or none, and have new ones dispatched when they are committed.

    Returns the new ones; those that are known were found and counted. A single new event takes one statement in
    autocommit mode, a known one two. Raises ``django.db.Error``, and ContentRefused where trying again is no use.
    """
    alias = router.db_for_write(DeliveryEvent)
    is_outermost = not connections[alias].in_atomic_block
    callbacks = list(callbacks)
    # One event that is committed at once, and whose receivers would run here in any case: storing it is the claim. Of
    # several, the leases would run out before their turn.
    state = dispatch.opening_state(lambda: is_outermost and len(callbacks) == 1 and tasks.would_run_at_once())
    # In one order for all, so that two callbacks never wait for each other's rows.
    events = sorted((_event(callback, receipt, state) for callback in callbacks), key=lambda event: event.fingerprint)
    try:
        new = statements.trying_again(alias, partial(_store, events, receipt, alias))
    except Error as error:
        if statements.refuses_content(error):
            raise ContentRefused from None
        raise
    for event in new:
        if event.dispatch_status == _Status.RUNNING:
            dispatch.attempt_at_once(event)
        elif event.dispatch_status == _Status.PENDING:
            transaction.on_commit(partial(dispatch.hand_over, event.pk), using=alias, robust=True)
    return new


def _event(callback: Callback, receipt: Receipt, state: dict[str, Any]) -> DeliveryEvent:
    return statements.new_event(
        account=receipt.account,
        secret_id=receipt.secret_id,
        zaap_id=callback.zaap_id,
        custom_id=callback.custom_id,
        message_id=callback.message_id,
        phone=callback.phone,
        participant=callback.participant,
        phone_digits=numbers.normalise(callback.phone),
        participant_digits=numbers.normalise(callback.participant),
        type=callback.type,
        instance_id=callback.instance_id,
        error=callback.error,
        error_code=callback.error_code,
        outcome=callback.outcome,
        failure=kind_of(callback.error, callback.error_code) if callback.outcome == "failed" else "",
        occurred_at=callback.occurred_at,
        received_at=receipt.received_at,
        last_received_at=receipt.last_received_at or receipt.received_at,
        times_received=receipt.times,
        payload=callback.payload,
        fingerprint=callback.fingerprint(receipt.account),
        dispatched_at=None,
        dispatch_error="",
        dispatch_failed=False,
        **state,
    )


def _store(events: Sequence[DeliveryEvent], receipt: Receipt, alias: str) -> list[DeliveryEvent]:
    with _all_or_none(alias, len(events)):
        return [event for event in events if _insert_or_count(event, receipt, alias)]


def _all_or_none(alias: str, events: int) -> AbstractContextManager[Any]:
    return transaction.atomic(using=alias) if events > 1 else statements.savepoint(alias)


def _insert_or_count(event: DeliveryEvent, receipt: Receipt, alias: str) -> bool:
    """Whether the event was new."""
    count = partial(_count_again, event, alias, receipt.times)
    if statements.must_count_first(alias) and count():
        return False
    if statements.insert_unless_known(event, alias):
        return True
    if count():
        return False
    # The row was deleted in between, or it was another error than the fingerprint's, which is raised now.
    statements.insert(event, alias)
    return True


def _count_again(row: DeliveryEvent | RejectedCallback, alias: str, times: int, **changes: Any) -> int:
    return statements.count_again(
        type(row), alias, row.fingerprint, times, row.last_received_at, secret_id=row.secret_id, **changes
    )


def reject(body: bytes, receipt: Receipt, *, reason: str, errors: dict[str, Any]) -> bool:
    """Keep a refused body, once. Returns False when the account's ``MAX_REJECTED`` are kept already.

    Raises ``django.db.Error``.
    """
    alias = router.db_for_write(RejectedCallback)
    rejected = RejectedCallback(
        account=receipt.account,
        secret_id=receipt.secret_id,
        received_at=receipt.received_at,
        last_received_at=receipt.received_at,
        reason=reason,
        errors=errors,
        body=body,
        fingerprint=UUID(bytes=hashlib.sha256(receipt.account.encode() + b"\0" + body).digest()[:16], version=5),
    )
    return statements.trying_again(alias, partial(_keep, rejected, alias))


def _keep(rejected: RejectedCallback, alias: str) -> bool:
    again = partial(_count_again, rejected, alias, 1, reason=rejected.reason, errors=rejected.errors)
    if again():
        return True
    limit = app_settings.max_rejected
    of_account = RejectedCallback.objects.using(alias).for_account(rejected.account)
    if of_account.has_at_least(limit):
        return False
    # Only now: finding them takes longer than all else.
    rejected.search_terms = numbers.search_terms(bytes(rejected.body))
    try:
        with statements.savepoint(alias):
            rejected.save(force_insert=True, using=alias)
    except IntegrityError:
        if not again():
            raise
        return True
    # Others may have inserted since the first look: the first of all stay.
    surplus = list(of_account.order_by("pk").values_list("pk", flat=True)[limit:])
    if surplus:
        RejectedCallback.objects.using(alias).filter(pk__in=surplus).delete()
    return rejected.pk not in surplus


def replay(rejected: RejectedCallback) -> list[DeliveryEvent] | None:
    """Try a refused callback again with today's code.

    On success returns its events, which have its first ``received_at``, and deletes it. Returns None when it is still
    refused, is of a type that is not stored, or was replayed meanwhile. Raises ``django.db.Error``.
    """
    try:
        value = payloads.parse(bytes(rejected.body))
        if serializers.ignored(value):
            return None
        callbacks = serializers.read(value)
    except APIException:
        return None
    receipt = Receipt(
        rejected.account,
        rejected.secret_id,
        received_at=rejected.received_at,
        last_received_at=rejected.last_received_at,
        times=rejected.times_received,
    )
    try:
        # A router may keep the two apart: what is deleted is committed last.
        with (
            transaction.atomic(using=router.db_for_write(RejectedCallback)),
            transaction.atomic(using=router.db_for_write(DeliveryEvent)),
        ):
            deleted, _by_model = RejectedCallback.objects.for_writing().filter(pk=rejected.pk).delete()
            if not deleted:
                return None
            record(callbacks, receipt)
            fingerprints = [callback.fingerprint(receipt.account) for callback in callbacks]
            return list(DeliveryEvent.objects.for_writing().filter(fingerprint__in=fingerprints))
    except ContentRefused:
        return None
