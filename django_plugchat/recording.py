"""The only writer of events, connections and rejected callbacks."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from django.db import Error, connections, router, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException, ParseError

from django_plugchat import dispatch, serializers, signals, spool, statements, tasks
from django_plugchat.conf import app_settings
from django_plugchat.models import Connection, DeliveryEvent, RejectedCallback
from django_plugchat.phones.numbers import mask_id, normalise
from django_plugchat.redaction import redact
from django_plugchat.serializers import Callback, ConnectionReport, Ignored
from django_plugchat.spool import Receipt

T = TypeVar("T")

logger = logging.getLogger(__name__)

_Status = DeliveryEvent.DispatchStatus

#: Of one callback, so many events are told inside the request at most: each receiver may take its time.
MOST_TOLD_AT_ONCE = 20


class ContentRefused(ParseError):  # noqa: N818
    """The database can't hold what a callback says, however often it is tried."""

    default_detail = _("The database can't store this callback.")
    default_code = RejectedCallback.Reason.DATABASE


def take(body: bytes, receipt: Receipt, *, is_as_encoded: bool = True) -> str:
    """Store what a callback says, and return what became of it: "recorded", "duplicate" or "ignored".

    One that is refused is kept before its APIException is raised again. Raises ``django.db.Error``.
    """
    try:
        if not is_as_encoded:
            raise ParseError(_("The body is not what its Content-Encoding says."), RejectedCallback.Reason.ENCODING)
        said = serializers.read(body)
        if not isinstance(said, Ignored):
            return "recorded" if record(said, receipt) else "duplicate"
    except APIException as refusal:
        _refuse(body, receipt, refusal)
        raise
    if said.unknown:
        # The caller could write anything there, numbers and secrets too.
        name = mask_id(redact(said.unknown))[:64]
        logger.warning("Ignored a callback of an unknown kind for account %r: %r", receipt.account, name)
    if said.is_status:
        reject(body, receipt, reason=RejectedCallback.Reason.UNKNOWN_STATUS.value, errors={})
    return "ignored"


def record(said: ConnectionReport | Sequence[Callback], receipt: Receipt) -> bool:
    """Store all that a callback says or none, and tell of it when committed. Returns whether any of it was new.

    Raises ``django.db.Error``, and ContentRefused where trying again is no use.
    """
    return _record_connection(said, receipt) if isinstance(said, ConnectionReport) else _record_events(said, receipt)


def _written(alias: str, write: Callable[..., T], *args: Any) -> T:
    try:
        return spool.asked(alias, partial(write, *args, alias))
    except (Error, UnicodeEncodeError) as error:
        if statements.refuses_content(error):
            raise ContentRefused from None
        raise


def _after_commit(alias: str, function: Callable[[], Any]) -> None:
    if connections[alias].in_atomic_block:
        transaction.on_commit(function, using=alias, robust=True)
    else:
        function()


def _record_events(callbacks: Sequence[Callback], receipt: Receipt) -> bool:
    alias = router.db_for_write(DeliveryEvent)
    # Another dispatcher's workers may have receivers that are not here.
    is_heard = dispatch.has_receivers() or not dispatch.uses_default_dispatcher()
    runs_here = is_heard and tasks.would_run_at_once()
    told_now = 0 if receipt.is_late or not is_heard else MOST_TOLD_AT_ONCE if runs_here else len(callbacks)
    # One event that is committed at once, and whose receivers would run here in any case: storing it is the claim. Of
    # several, the leases would run out before their turn.
    is_claimed = runs_here and told_now > 0 and len(callbacks) == 1 and not connections[alias].in_atomic_block
    came = {
        "account": receipt.account,
        "secret_id": receipt.secret_id,
        "received_at": receipt.received_at,
        "last_received_at": receipt.last_received_at or receipt.received_at,
        "times_received": receipt.times,
        "dispatch_status": (_Status.NONE if not is_heard else _Status.RUNNING if is_claimed else _Status.PENDING).value,
        "dispatch_attempts": int(is_claimed),
        "dispatch_due_at": timezone.now() + dispatch.lease() if is_heard else None,
        "dispatched_at": None,
        "dispatch_error": "",
        "dispatch_failed": False,
    }
    rows = [
        vars(callback)
        | came
        | {
            "phone_digits": normalise(callback.phone),
            "participant_digits": normalise(callback.participant),
            "fingerprint": callback.fingerprint(receipt.account),
        }
        for callback in callbacks
    ]
    # In one order for all, so that two callbacks never wait for each other's rows.
    rows.sort(key=itemgetter("fingerprint"))
    for row in rows[told_now:] if is_heard else ():
        row["dispatch_due_at"] = timezone.now()  # for a sweep
    new = _written(alias, statements.store, rows)
    for row in rows[:told_now]:
        if pk := new.get(row["fingerprint"]):
            claimed = statements.event_of(row, pk, alias) if is_claimed else None
            _after_commit(alias, partial(dispatch.hand_over, pk, claimed))
    return bool(new)


def _record_connection(report: ConnectionReport, receipt: Receipt) -> bool:
    """Keep whether an instance is connected. Returns False where that was known, or something newer is."""
    came = receipt.received_at
    # In whole seconds, as one of the two callbacks comes. A clock that is ahead must not silence all that follows.
    moment = min(report.occurred_at or came, came).replace(microsecond=0)
    alias = router.db_for_write(Connection)
    connection = _written(alias, _changed, report, receipt.account, moment)
    if connection:
        _after_commit(alias, partial(signals.connection_changed.send_robust, sender=Connection, connection=connection))
    return connection is not None


def _changed(report: ConnectionReport, account: str, moment: datetime, alias: str) -> Connection | None:
    """The row, if this is the newest news and not what was known."""
    rows: QuerySet[Connection] = Connection.objects.using(alias).filter(account=account, instance_id=report.instance_id)
    change = {"is_connected": report.is_connected, "since": moment, "reported_at": moment}
    row, is_new = rows.get_or_create(account=account, instance_id=report.instance_id, defaults=change)
    if is_new:
        return row
    if rows.filter(is_connected=not report.is_connected, reported_at__lte=moment).update(**change):
        return rows.first()  # None where it has been deleted meanwhile
    # Newer news of the same: what was said before it can't change anything any more.
    rows.filter(is_connected=report.is_connected, reported_at__lt=moment).update(reported_at=moment)
    return None


# Rejected callbacks


def _refuse(body: bytes, receipt: Receipt, refusal: APIException) -> None:
    """Keep a callback that is answered 400, and log why."""
    codes = refusal.get_codes()
    reason = codes if isinstance(codes, str) else RejectedCallback.Reason.INVALID.value
    errors = codes if isinstance(codes, dict) else {}
    is_kept = reject(body, receipt, reason=reason, errors=errors)
    said = " ".join([reason, *errors]) + ("." if is_kept else ". Not kept: MAX_REJECTED are kept already.")
    logger.warning("Refused a callback for account %r: %s", receipt.account, said)


def reject(body: bytes, receipt: Receipt, *, reason: str, errors: dict[str, Any]) -> bool:
    """Keep a refused body, once. False when as many are kept already as may be. Raises ``django.db.Error``."""
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
    return _written(router.db_for_write(RejectedCallback), _keep, rejected)


def _keep(rejected: RejectedCallback, alias: str) -> bool:
    told = {"reason": rejected.reason, "errors": rejected.errors}
    if statements.count_again(rejected, alias, **told):
        return True
    unknown = RejectedCallback.Reason.UNKNOWN_STATUS
    # A tenth beside it for these, so that a new word never pushes out real refusals.
    limit = app_settings.max_rejected // (10 if rejected.reason == unknown else 1)
    kept = RejectedCallback.objects.using(alias).for_account(rejected.account)
    kept = kept.filter(reason=unknown) if rejected.reason == unknown else kept.exclude(reason=unknown)
    # Of several at once, a few more may find room.
    if kept[:limit].count() >= limit:
        return False
    statements.insert_or_count(rejected, alias, **told)
    return True


def replay(rejected: RejectedCallback) -> list[DeliveryEvent] | None:
    """Try a refused callback again with today's code.

    On success returns its events, which have its first ``received_at``, and deletes it. Returns None when it is still
    refused or ignored, or was replayed meanwhile. Raises ``django.db.Error``.
    """
    try:
        said = serializers.read(bytes(rejected.body))
        if isinstance(said, Ignored):
            return None
        alias = router.db_for_write(RejectedCallback)
        return statements.trying_again(alias, partial(_record_and_delete, rejected, said, alias))
    except APIException:
        return None


def _record_and_delete(
    rejected: RejectedCallback, said: ConnectionReport | Sequence[Callback], alias: str
) -> list[DeliveryEvent] | None:
    came, again, times = rejected.received_at, rejected.last_received_at, rejected.times_received
    # A router may keep the two apart: what is deleted is committed last.
    with transaction.atomic(using=alias), transaction.atomic(using=router.db_for_write(DeliveryEvent)):
        deleted, _by_model = RejectedCallback.objects.using(alias).filter(pk=rejected.pk).delete()
        if not deleted:
            return None
        record(said, Receipt(rejected.account, rejected.secret_id, came, again, times))
        if isinstance(said, ConnectionReport):
            return []
        fingerprints = [callback.fingerprint(rejected.account) for callback in said]
        return list(DeliveryEvent.objects.for_writing().filter(fingerprint__in=fingerprints))
