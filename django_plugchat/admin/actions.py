"""What the admin does with many rows: it asks first, does no more than a request should, and logs who did it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin import action
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_plugchat import dispatch, tasks, times
from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep import deletion, sweeps

logger = logging.getLogger(__name__)

#: What one request does at most. What is left is one click away.
MOST_ROWS = 5_000
MOST_SECONDS = 10.0

#: With a context: in a language whose admin has another word for it than this app.
_DELETE_SELECTED = pgettext_lazy("stored rows", "Delete selected %(verbose_name_plural)s")

_Status = DeliveryEvent.DispatchStatus


@dataclass(frozen=True)
class BulkAction:
    """What is done with the rows that were selected, and what people read of it."""

    name: str
    title: str
    #: How many rows are done at a time: between two of these the clock is looked at.
    batch_size: int
    #: Takes rows; returns how many of them became what.
    act: Callable[[list[Any]], Counter[str]]
    #: Takes a number of rows.
    question: Callable[[int], str]
    #: What became of rows, and of how many.
    outcome: Callable[[str, int], str]
    #: Said while rows are left: another way that takes no clicks.
    hint: str = ""
    is_dangerous: bool = False
    log_flag: int = CHANGE


def run(model_admin: Any, request: HttpRequest, queryset: Any, bulk: BulkAction) -> HttpResponse | None:
    """Ask, then do as much as a request may, and offer to go on with the rest."""
    if "post" not in request.POST:
        return _page(model_admin, request, bulk, [bulk.question(_count(model_admin, request, queryset))])
    rows = queryset.for_writing()
    tally: Counter[str] = Counter()
    position, taken, start = request.POST.get("position", ""), 0, time.monotonic()
    for batch in _beyond(rows, position).in_batches(bulk.batch_size, by="-received_at"):
        # Before it is done, which may take the rows away.
        position = f"{batch[-1].received_at.isoformat()} {batch[-1].pk}"
        tally += bulk.act(batch)
        taken += len(batch)
        if taken >= MOST_ROWS or time.monotonic() - start >= MOST_SECONDS:
            break
    if taken:
        log_action(model_admin, request, bulk.name, bulk.title, taken, flag=bulk.log_flag)
    said = [bulk.outcome(name, count) for name, count in tally.items()]
    left = _beyond(rows, position)
    if not left.exists():
        for text in said or [gettext("Nothing was left to do.")]:
            model_admin.message_user(request, text, messages.SUCCESS)
        return None
    said.append(_left(_count(model_admin, request, left)))
    return _page(model_admin, request, bulk, [*said, *filter(None, [bulk.hint])], position)


def _count(model_admin: Any, request: HttpRequest, queryset: Any) -> int:
    """As far as the list counts."""
    count: int = model_admin.get_paginator(request, queryset, model_admin.list_per_page).count
    return count


def _left(count: int) -> str:
    return ngettext("%(count)s is left.", "%(count)s are left.", count) % {"count": count}


def _beyond(rows: Any, position: str) -> Any:
    """The rows that come after a position of the walk, newest first."""
    if not position:
        return rows
    moment, _space, pk = position.partition(" ")
    try:
        received_at = times.as_stored(datetime.fromisoformat(moment))
        last_pk = rows.model._meta.pk.to_python(pk)
    except (ValueError, ValidationError):
        raise BadRequest("Not a position.") from None
    return rows.filter(Q(received_at__lt=received_at) | Q(received_at=received_at, pk__lt=last_pk)).filter(
        received_at__lte=received_at
    )


def _page(
    model_admin: Any, request: HttpRequest, bulk: BulkAction, texts: list[str], position: str = ""
) -> TemplateResponse:
    opts = model_admin.opts
    changelist = reverse(
        f"admin:{opts.app_label}_{opts.model_name}_changelist", current_app=model_admin.admin_site.name
    )
    query = request.GET.urlencode()
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": opts,
        "title": bulk.title,
        "subtitle": None,
        "media": model_admin.media,
        "bulk": bulk,
        "texts": texts,
        "is_under_way": bool(position),
        "hidden": [
            *((ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)),
            ("select_across", request.POST.get("select_across", "0")),
            ("index", "0"),
            ("action", bulk.name),
            ("post", "yes"),
            ("position", position),
        ],
        "back": f"{changelist}?{query}" if query else changelist,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/django_plugchat/confirm.html", context)


def log_action(
    model_admin: Any, request: HttpRequest, name: str, title: str, count: int, *, flag: int = CHANGE
) -> None:
    """Who did what to how many: in the log, and in the admin's history as one entry. Of no row does it say anything."""
    user: Any = request.user
    logger.info("%s: %s of %d %s.", user.get_username(), name, count, model_admin.opts.model_name)
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(model_admin.model),
        object_repr=f"{count} {model_ngettext(model_admin.opts, count)}"[:200],
        action_flag=flag,
        change_message=title,
    )


class BoundedDeletion(ReadOnlyAdmin):
    """In place of Django's "delete selected", which lists every row on a page and deletes them all in one request."""

    # Under the name of Django's, which it replaces.
    actions: Sequence[str] = ("delete_selected",)

    @action(permissions=["delete"], description=_DELETE_SELECTED)
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        bulk = BulkAction(
            name="delete_selected",
            title=pgettext("stored rows", "Delete"),
            batch_size=500,
            act=lambda batch: self._delete(request, batch),
            question=self._deletion_question,
            outcome=_deleted,
            hint=gettext("To delete all that is older than RETENTION_DAYS, run: python manage.py plugchat_prune"),
            is_dangerous=True,
            log_flag=DELETION,
        )
        return run(self, request, queryset, bulk)

    def _deletion_question(self, count: int) -> str:
        text = ngettext(
            "%(count)s %(name)s will be deleted for good.", "%(count)s %(name)s will be deleted for good.", count
        )
        return text % {"count": count, "name": model_ngettext(self.opts, count)}

    def _delete(self, request: HttpRequest, batch: list[Any]) -> Counter[str]:
        # With whatever a project's own models hang on them.
        _deletable, _counts, forbidden, _protected = self.get_deleted_objects(batch, request)
        if forbidden:
            raise PermissionDenied
        rows = self.model._default_manager.for_writing()
        done = deletion.delete(rows, [row.pk for row in batch])
        return Counter(deleted=done.deleted, protected=len(done.needed))


def _deleted(name: str, count: int) -> str:
    if name == "protected":
        return ngettext(
            "%(count)s stays: another model's rows need it.",
            "%(count)s stay: another model's rows need them.",
            count,
        ) % {"count": count}
    return ngettext("%(count)s was deleted.", "%(count)s were deleted.", count) % {"count": count}


class DispatchAgain(BoundedDeletion):
    """For the admin of events."""

    actions = ("redispatch", *BoundedDeletion.actions)

    def has_redispatch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.redispatch_deliveryevent")

    @action(permissions=["redispatch"], description=_("Dispatch again"))
    def redispatch(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        if dispatch.uses_default_dispatcher() and not dispatch.has_receivers():
            text = gettext("No receiver of delivery_recorded is connected, so nothing was dispatched.")
            self.message_user(request, text, messages.ERROR)
            return None
        bulk = BulkAction(
            name="redispatch",
            title=gettext("Dispatch again"),
            # Where receivers run inside the request, each may take its time.
            batch_size=20 if tasks.would_run_at_once() else 500,
            act=_start_over,
            question=_dispatch_question,
            outcome=_dispatched,
        )
        return run(self, request, queryset, bulk)


def _dispatch_question(count: int) -> str:
    return ngettext(
        "%(count)s event will be handed to your code again, also if your code has taken it before.",
        "%(count)s events will be handed to your code again, also those that your code has taken before.",
        count,
    ) % {"count": count}


def _start_over(batch: list[Any]) -> Counter[str]:
    taken = sweeps.start_over(DeliveryEvent.objects.filter(pk__in=[event.pk for event in batch]))
    return Counter(dispatched=taken, running=len(batch) - taken)


def _dispatched(name: str, count: int) -> str:
    if name == "running":
        return ngettext(
            "%(count)d event is being tried at this moment and was left alone.",
            "%(count)d events are being tried at this moment and were left alone.",
            count,
        ) % {"count": count}
    return ngettext("%(count)d event is dispatched again.", "%(count)d events are dispatched again.", count) % {
        "count": count
    }


def why_waiting(event: DeliveryEvent) -> str:
    """Why your code has not taken an event yet, and until when it waits; "" where nothing is to be said."""
    # A time at the end of a sentence may end in a stop of its own: "p.m.".
    return _why_waiting(event).replace("..", ".")


def _why_waiting(event: DeliveryEvent) -> str:
    due_at, now = event.dispatch_due_at, timezone.now()
    values = {
        "when": times.shown(due_at) if due_at else "",
        "attempt": event.dispatch_attempts,
        "attempts": app_settings.dispatch_max_attempts,
    }
    is_due = due_at is not None and due_at <= now
    match event.dispatch_status:
        case _Status.PENDING if is_due:
            return gettext("Waits since %(when)s for plugchat_redispatch to hand it over.") % values
        case _Status.PENDING:
            return gettext("Waits in the queue. If no worker takes it, it is handed over again from %(when)s.") % values
        case _Status.RUNNING if is_due:
            return gettext("Its worker died. plugchat_redispatch takes it again since %(when)s.") % values
        case _Status.RUNNING:
            return gettext("Being tried now. If its worker dies, it is taken again from %(when)s.") % values
        case _Status.RETRYING:
            return gettext("Attempt %(attempt)d of %(attempts)d failed. The next is due from %(when)s.") % values
        case _Status.EXHAUSTED:
            return gettext("Given up after %(attempt)d attempts. Mend what failed, then dispatch it again.") % values
        case _Status.NONE:
            return gettext("No receiver was connected when it came.")
    return ""
