"""What the admin does with many rows: it asks first, does no more than a request should, and logs who did it."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin import action
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_plugchat import dispatch, times
from django_plugchat.admin.base import ReadOnlyAdmin
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep import deletion, sweeps

logger = logging.getLogger(__name__)

#: What one request does at most.
MOST_ROWS = 1_000
_AT_A_TIME = 500

#: With a context: in a language whose admin has another word for it than this app.
_DELETE_SELECTED = pgettext_lazy("stored rows", "Delete selected %(verbose_name_plural)s")

_Status = DeliveryEvent.DispatchStatus


def chosen_rows(
    model_admin: Any, request: HttpRequest, queryset: Any, instead: str, *, most: int | None = None
) -> list[Any] | None:
    """The keys of the rows that were selected; None, and a text says so, where they are more than a request takes."""
    most = most or MOST_ROWS
    keys = list(queryset.for_writing().values_list("pk", flat=True)[: most + 1])
    if len(keys) <= most:
        return keys
    text = gettext("These are more than %(most)s, which is too much for one request.") % {"most": most}
    model_admin.message_user(request, f"{text} {instead}", messages.ERROR)
    return None


def is_confirmed(request: HttpRequest) -> bool:
    return "post" in request.POST


def ask(
    model_admin: Any, request: HttpRequest, *, name: str, title: str, question: str, is_dangerous: bool = False
) -> TemplateResponse:
    """A page that asks whether to go on."""
    opts = model_admin.opts
    changelist = reverse(
        f"admin:{opts.app_label}_{opts.model_name}_changelist", current_app=model_admin.admin_site.name
    )
    query = request.GET.urlencode()
    hidden = [
        *((ACTION_CHECKBOX_NAME, pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)),
        ("select_across", request.POST.get("select_across", "0")),
        ("index", "0"),
        ("action", name),
        ("post", "yes"),
    ]
    page: TemplateResponse = model_admin.own_page(
        request,
        "confirm",
        title,
        question=question,
        is_dangerous=is_dangerous,
        hidden=hidden,
        back=f"{changelist}?{query}" if query else changelist,
    )
    return page


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
    """In place of Django's "delete selected", which lists every row on a page, however many there are."""

    # Under the name of Django's, which it replaces.
    actions: Sequence[str] = ("delete_selected",)

    @action(permissions=["delete"], description=_DELETE_SELECTED)
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        instead = gettext("To delete what is old, run: python manage.py plugchat_prune")
        keys = chosen_rows(self, request, queryset, instead)
        if keys is None:
            return None
        title = pgettext("stored rows", "Delete")
        if not is_confirmed(request):
            question = self._deletion_question(len(keys))
            return ask(self, request, name="delete_selected", title=title, question=question, is_dangerous=True)
        rows, deleted, needed = self.model._default_manager.for_writing(), 0, 0
        keys = self.keys_to_delete(rows.filter(pk__in=keys))
        for start in range(0, len(keys), _AT_A_TIME):
            batch = keys[start : start + _AT_A_TIME]
            # With whatever a project's own models hang on them.
            if self.get_deleted_objects(rows.filter(pk__in=batch), request)[2]:
                raise PermissionDenied
            done = deletion.delete(rows, batch)
            deleted, needed = deleted + done.deleted, needed + len(done.needed)
        if deleted:
            log_action(self, request, "delete_selected", title, deleted, flag=DELETION)
        text = ngettext("%(count)s was deleted.", "%(count)s were deleted.", deleted) % {"count": deleted}
        self.message_user(request, text, messages.SUCCESS)
        if needed:
            text = ngettext(
                "%(count)s stays: another model's rows need it.",
                "%(count)s stay: another model's rows need them.",
                needed,
            )
            self.message_user(request, text % {"count": needed}, messages.WARNING)
        return None

    def keys_to_delete(self, rows: Any) -> list[Any]:
        return list(rows.values_list("pk", flat=True))

    def _deletion_question(self, count: int) -> str:
        text = ngettext(
            "%(count)s %(name)s will be deleted for good.", "%(count)s %(name)s will be deleted for good.", count
        )
        return text % {"count": count, "name": model_ngettext(self.opts, count)}


def keys_of_messages(events: Any) -> list[Any]:
    """Of all that was said about their messages: a status left behind would look like a message of its own."""
    keys = set()
    ids: dict[str, set[str]] = defaultdict(set)
    for pk, account, *of_message in events.values_list("pk", "account", "zaap_id", "message_id"):
        keys.add(pk)
        ids[account].update(of_message)
    for account, of_account in ids.items():
        told = DeliveryEvent.objects.for_writing().for_account(account).for_message(*of_account)
        keys.update(told.values_list("pk", flat=True))
    return sorted(keys)


class DispatchAgain(BoundedDeletion):
    """For the admin of events."""

    actions = ("redispatch", *BoundedDeletion.actions)

    def has_redispatch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_plugchat.redispatch_deliveryevent")

    def keys_to_delete(self, rows: Any) -> list[Any]:
        return keys_of_messages(rows)

    @action(permissions=["redispatch"], description=_("Dispatch again"))
    def redispatch(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        if dispatch.uses_default_dispatcher() and not dispatch.has_receivers():
            text = gettext("No receiver of delivery_recorded is connected, so nothing was dispatched.")
            self.message_user(request, text, messages.ERROR)
            return None
        keys = chosen_rows(self, request, queryset, gettext("Choose a shorter time."))
        if keys is None:
            return None
        title = gettext("Dispatch again")
        if not is_confirmed(request):
            question = ngettext(
                "%(count)s event will be handed to your code again, also if your code has taken it before.",
                "%(count)s events will be handed to your code again, also those that your code has taken before.",
                len(keys),
            ) % {"count": len(keys)}
            return ask(self, request, name="redispatch", title=title, question=question)
        due = sweeps.start_over(DeliveryEvent.objects.filter(pk__in=keys))
        log_action(self, request, "redispatch", title, due)
        text = ngettext(
            "%(count)d event is due again: the next plugchat_redispatch hands it to your code.",
            "%(count)d events are due again: the next plugchat_redispatch hands them to your code.",
            due,
        )
        self.message_user(request, text % {"count": due}, messages.SUCCESS)
        if running := len(keys) - due:
            text = ngettext(
                "%(count)d event is being tried at this moment and was left alone.",
                "%(count)d events are being tried at this moment and were left alone.",
                running,
            )
            self.message_user(request, text % {"count": running}, messages.WARNING)
        return None


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
