"""The only writer of events, connections and rejected callbacks."""

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Self, TypeVar

from django.db import Error, IntegrityError, connections, router, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException

from django_plugchat import dispatch, serializers, signals, spool, statements, tasks
from django_plugchat.conf import Caller, app_settings
from django_plugchat.models import Connection, DeliveryEvent, RejectedCallback
from django_plugchat.phones.numbers import mask_id, normalise, search_terms
from django_plugchat.redaction import redact
from django_plugchat.serializers import Callback, ConnectionReport, Ignored

T = TypeVar("T")

logger = logging.getLogger(__name__)

_Status = DeliveryEvent.DispatchStatus
#: What a callback says under the names of an event's fields.
_SAID = tuple(name for name in Callback.__slots__ if name != "identity")
_said_by = attrgetter(*_SAID)
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z_-]|[0-9](?![0-9]{3})){0,63}")

#: Of one callback, so many events are told inside the request at most: each receiver may take its time.
MOST_TOLD_AT_ONCE = 20
#: Of ``MAX_REJECTED``, how large a part statuses that nobody knows may take beside it.
_SHARE_OF_UNKNOWN_STATUSES = 10


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
    #: It came some time ago: no receiver runs while it is stored.
    is_late: bool = False

    @classmethod
    def of(cls, caller: Caller) -> Self:
        return cls(caller.account, caller.secret_id)


# Whatever came


def take(body: bytes, receipt: Receipt) -> str:
    """Store what a callback says, and return what became of it: "recorded", "duplicate" or "ignored".

    One that is refused is kept before its APIException is raised again. Raises ``django.db.Error``.
    """
    try:
        said = serializers.read(body)
        if isinstance(said, Ignored):
            _ignore(said, body, receipt)
            return "ignored"
        with spool.asking():
            return "recorded" if _store_what_is_said(said, receipt) else "duplicate"
    except APIException as refusal:
        refuse(body, receipt, refusal)
        raise


def _store_what_is_said(said: ConnectionReport | tuple[Callback, ...], receipt: Receipt) -> bool:
    """Whether any of it was new."""
    if isinstance(said, ConnectionReport):
        return record_connection(said, receipt)
    return bool(record(said, receipt))


def _ignore(ignored: Ignored, body: bytes, receipt: Receipt) -> None:
    if ignored.is_known:
        if not ignored.name:
            logger.info("Ignored a conversation for account %r.", receipt.account)
        return
    # Only what is a name: the caller could write anything there, numbers and secrets too.
    name = mask_id(redact(ignored.name)) if _NAME.fullmatch(ignored.name) else "(not a name)"
    logger.warning("Ignored a callback of an unknown kind for account %r: %s", receipt.account, name)
    if ignored.is_unknown_status:
        with spool.asking():
            reject(body, receipt, reason=RejectedCallback.Reason.UNKNOWN_STATUS.value, errors={})


def refuse(body: bytes, receipt: Receipt, refusal: APIException) -> None:
    """Keep a callback that is answered 400, and log why."""
    codes = refusal.get_codes()
    reason = codes if isinstance(codes, str) else RejectedCallback.Reason.INVALID.value
    errors = codes if isinstance(codes, dict) else {}
    with spool.asking():
        kept = reject(body, receipt, reason=reason, errors=errors)
    logger.warning(
        "Refused a callback for account %r: %s.%s",
        receipt.account,
        " ".join([reason, *errors]),
        "" if kept else " Not kept: MAX_REJECTED are kept already.",
    )


def _written(alias: str, write: Callable[[], T]) -> T:
    """What a write of a callback returns. Raises ``django.db.Error``; ContentRefused where trying again is no use."""
    try:
        return statements.trying_again(alias, write)
    except (Error, UnicodeEncodeError) as error:
        if statements.refuses_content(error):
            raise ContentRefused from None
        raise


# Events


def record(callbacks: Sequence[Callback], receipt: Receipt) -> list[DeliveryEvent]:
    """Store each event once, all or none, and have new ones dispatched when they are committed.

    Returns the new ones; those that are known were found and counted. One statement in autocommit mode. Raises
    ``django.db.Error``, and ContentRefused where trying again is no use.
    """
    alias = router.db_for_write(DeliveryEvent)
    is_outermost = not connections[alias].in_atomic_block
    runs_here = tasks.would_run_at_once()
    # One event that is committed at once, and whose receivers would run here in any case: storing it is the claim. Of
    # several, the leases would run out before their turn.
    is_claimed = is_outermost and len(callbacks) == 1 and runs_here and not receipt.is_late
    told_now = 0 if receipt.is_late else MOST_TOLD_AT_ONCE if runs_here else len(callbacks)
    # In one order for all, so that two callbacks never wait for each other's rows.
    in_order = sorted(((callback.fingerprint(receipt.account), callback) for callback in callbacks), key=itemgetter(0))
    events = [
        _event(
            callback,
            receipt,
            fingerprint=fingerprint,
            **dispatch.opening_fields(is_claimed=is_claimed, is_due_at_once=number >= told_now),
        )
        for number, (fingerprint, callback) in enumerate(in_order)
    ]
    new = _written(alias, partial(statements.store, events, alias))
    told = {event.fingerprint for event in events[:told_now]}
    for event in new:
        if event.dispatch_status == _Status.RUNNING:
            dispatch.attempt_at_once(event)
        elif event.dispatch_status == _Status.PENDING and event.fingerprint in told:
            statements.after_commit(alias, partial(dispatch.hand_over, event.pk))
    return new


def _event(callback: Callback, receipt: Receipt, **fields: Any) -> DeliveryEvent:
    return DeliveryEvent(
        account=receipt.account,
        secret_id=receipt.secret_id,
        phone_digits=normalise(callback.phone),
        participant_digits=normalise(callback.participant),
        received_at=receipt.received_at,
        last_received_at=receipt.last_received_at or receipt.received_at,
        times_received=receipt.times,
        **dict(zip(_SAID, _said_by(callback), strict=True)),
        **fields,
    )


# Connections


def record_connection(report: ConnectionReport, receipt: Receipt) -> bool:
    """Keep whether an instance is connected. Returns False where that was known, or something newer is.

    Raises ``django.db.Error``, and ContentRefused where trying again is no use.
    """
    alias = router.db_for_write(Connection)
    came = receipt.received_at
    # In whole seconds, as one of the two callbacks comes. A clock that is ahead must not silence all that follows.
    moment = min(report.occurred_at or came, came).replace(microsecond=0)
    connection = _written(alias, partial(_changed, report, receipt.account, moment, alias))
    if connection is None:
        return False
    statements.after_commit(alias, partial(_tell_of, connection))
    return True


def _changed(report: ConnectionReport, account: str, moment: datetime, alias: str) -> Connection | None:
    rows: QuerySet[Connection] = Connection.objects.using(alias).filter(account=account, instance_id=report.instance_id)
    change = {"is_connected": report.is_connected, "since": moment, "reported_at": moment}
    if rows.filter(is_connected=not report.is_connected, reported_at__lte=moment).update(**change):
        return rows.first()  # None where it has been deleted meanwhile
    # Newer news of the same: what was said before it can't change anything any more.
    if (
        rows.filter(is_connected=report.is_connected, reported_at__lt=moment).update(reported_at=moment)
        or rows.exists()
    ):
        return None
    try:
        with transaction.atomic(using=alias):
            return rows.create(account=account, instance_id=report.instance_id, **change)
    except IntegrityError:
        if not rows.exists():
            raise
    # Another callback has just created it.
    return _changed(report, account, moment, alias)


def _tell_of(connection: Connection) -> None:
    signals.connection_changed.send_robust(sender=Connection, connection=connection)


# Rejected callbacks


def reject(body: bytes, receipt: Receipt, *, reason: str, errors: dict[str, Any]) -> bool:
    """Keep a refused body, once. Returns False when as many are kept already as may be.

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
        fingerprint=serializers.fingerprint_of(receipt.account.encode() + b"\0" + body),
    )
    return statements.trying_again(alias, partial(_keep, rejected, alias))


def _keep(rejected: RejectedCallback, alias: str) -> bool:
    again = partial(statements.count_again, rejected, alias, reason=rejected.reason, errors=rejected.errors)
    if again():
        return True
    unknown, limit = RejectedCallback.Reason.UNKNOWN_STATUS, app_settings.max_rejected
    kept = RejectedCallback.objects.using(alias).for_account(rejected.account)
    if rejected.reason == unknown:
        kept, limit = kept.filter(reason=unknown), limit // _SHARE_OF_UNKNOWN_STATUSES
    else:
        kept = kept.exclude(reason=unknown)
    if limit < 1 or kept.order_by("pk")[limit - 1 : limit].exists():
        return False
    # Only now: finding them takes longer than all else.
    rejected.search_terms = search_terms(bytes(rejected.body))
    try:
        _insert(rejected, alias)
    except IntegrityError:
        if not again():
            raise
        return True
    # Others may have inserted since the first look: the first of all stay.
    surplus = list(kept.order_by("pk").values_list("pk", flat=True)[limit:])
    if surplus:
        RejectedCallback.objects.using(alias).filter(pk__in=surplus).delete()
    return rejected.pk not in surplus


def _insert(rejected: RejectedCallback, alias: str) -> None:
    try:
        # A statement that fails spoils the transaction that it is in, also one of AUTOCOMMIT False.
        with nullcontext() if connections[alias].get_autocommit() else transaction.atomic(using=alias):
            rejected.save(force_insert=True, using=alias)
    except (Error, UnicodeEncodeError) as error:
        if not statements.refuses_content(error):
            raise
        # What the database's character set can't hold is among them. The body is kept as bytes.
        rejected.search_terms = rejected.search_terms.encode("ascii", "ignore").decode()
        with statements.savepoint(alias):
            rejected.save(force_insert=True, using=alias)


def replay(rejected: RejectedCallback) -> list[DeliveryEvent] | None:
    """Try a refused callback again with today's code.

    On success returns its events, which have its first ``received_at``, and deletes it. Returns None when it is still
    refused or ignored, or was replayed meanwhile. Raises ``django.db.Error``.
    """
    try:
        said = serializers.read(bytes(rejected.body))
    except APIException:
        return None
    if isinstance(said, Ignored):
        return None
    receipt = Receipt(
        rejected.account,
        rejected.secret_id,
        received_at=rejected.received_at,
        last_received_at=rejected.last_received_at,
        times=rejected.times_received,
    )
    try:
        return statements.trying_again(
            router.db_for_write(RejectedCallback), partial(_record_and_delete, rejected, said, receipt)
        )
    except ContentRefused:
        return None


def _record_and_delete(
    rejected: RejectedCallback, said: ConnectionReport | tuple[Callback, ...], receipt: Receipt
) -> list[DeliveryEvent] | None:
    # A router may keep the two apart: what is deleted is committed last.
    with (
        transaction.atomic(using=router.db_for_write(RejectedCallback)),
        transaction.atomic(using=router.db_for_write(DeliveryEvent)),
    ):
        deleted, _by_model = RejectedCallback.objects.for_writing().filter(pk=rejected.pk).delete()
        if not deleted:
            return None
        _store_what_is_said(said, receipt)
        if isinstance(said, ConnectionReport):
            return []
        fingerprints = [callback.fingerprint(receipt.account) for callback in said]
        return list(DeliveryEvent.objects.for_writing().filter(fingerprint__in=fingerprints))
