"""How the accounts are doing: what ``plugchat_status`` says, for people who run nothing."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from django_plugchat import times
from django_plugchat.admin.base import ReadOnlyAdmin, seen_accounts
from django_plugchat.models import Connection, DeliveryEvent
from django_plugchat.upkeep import findings
from django_plugchat.upkeep.figures import DAY, describe, first_calls
from django_plugchat.upkeep.findings import AccountStatus

ACCOUNTS_ON_A_PAGE = 25

#: Each rule of ``findings``, in a few words, in the order of the runbook.
NAMES = {
    "never_called": _("never called"),
    "silent_since_registered": _("silent since it was registered"),
    "silent": _("silent"),
    "disconnected": _("disconnected"),
    "other_instance": _("another instance"),
    "statuses_silent": _("no statuses"),
    "failures": _("many failures"),
    "undelivered": _("few are received"),
    "overdue": _("late dispatches"),
    "waiting": _("the queue stands still"),
    "exhausted": _("dispatches given up"),
    "retrying": _("a receiver fails"),
    "no_receiver": _("no receiver was connected"),
    "rejected": _("rejected callbacks"),
    "rejected_full": _("no room for rejected callbacks"),
    "unknown_status": _("unknown status"),
    "retiring_secret": _("retiring secret in use"),
    "unknown_secret": _("unknown secret in use"),
    "clocks": _("clocks differ"),
    "spooled": _("callbacks wait in the spool"),
}

_LATE = _("What PlugChat says reaches your system late. Tell the developers.")
_OLD_ADDRESS = _("PlugChat calls this site by an old address. Tell the developers.")
#: What is said to those who may not dispatch, where the finding's own text is for developers.
FOR_SUPPORT: dict[str, Any] = {
    "overdue": _LATE,
    "waiting": _LATE,
    "exhausted": ngettext_lazy(
        "%(count)d callback could not be handed to your system; the developers see why.",
        "%(count)d callbacks could not be handed to your system; the developers see why.",
        "count",
    ),
    "retrying": ngettext_lazy(
        "Your system failed over %(count)d callback, which is tried again; the developers see why.",
        "Your system failed over %(count)d callbacks, which are tried again; the developers see why.",
        "count",
    ),
    "no_receiver": _("Your system has not heard of some messages. Tell the developers."),
    "rejected": ngettext_lazy("%(count)d callback was refused.", "%(count)d callbacks were refused.", "count"),
    "rejected_full": _("New callbacks that are refused are lost. Tell the developers."),
    "unknown_status": _("PlugChat tells a status that this site does not know yet. Tell the developers."),
    "retiring_secret": _OLD_ADDRESS,
    "unknown_secret": _OLD_ADDRESS,
}
#: What the sentences above count, by its name in ``Figures.counts``.
_COUNTED = {"exhausted": "exhausted", "retrying": "raised", "rejected": "rejected_lately"}

#: The findings of 24 hours. The list knows days: it shows those that have an hour of them.
_OF_A_DAY = {"failures", "undelivered"}
#: Where the rows are that a finding is about: the model, and what its list is filtered by.
ROWS = {
    "failures": ("deliveryevent", {"situation": "failed"}),
    "undelivered": ("deliveryevent", {"situation": "sent"}),
    "exhausted": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.EXHAUSTED.value}),
    "retrying": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.RETRYING.value}),
    "waiting": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.PENDING.value}),
    "rejected": ("rejectedcallback", {}),
    "rejected_full": ("rejectedcallback", {}),
    "unknown_status": ("rejectedcallback", {"reason__exact": "unknown_status"}),
}


@admin.register(Connection)
class OverviewAdmin(ReadOnlyAdmin):
    """In the place of a list of connections: the admin's index and sidebar know lists and no other pages."""

    ordering = ("account", "instance_id")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("django_plugchat.view_deliveryevent")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="django_plugchat_connection_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Accounts with something that needs a person first; the others after them, closed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        seen, runs = seen_accounts(request), request.user.has_perm("django_plugchat.redispatch_deliveryevent")
        found = [(account, self._findings(request, account, runs=runs)) for account in findings.statuses(seen)]
        of_host = findings.of_this_host() if runs and seen is None else []
        wanted = request.GET.get("q", "").strip()
        shown = [(account, problems) for account, problems in found if wanted.lower() in account.name.lower()]
        # Sorting keeps the order of equals.
        shown.sort(key=lambda each: not each[1])
        page = Paginator(shown, ACCOUNTS_ON_A_PAGE).get_page(request.GET.get("p"))
        first = first_calls([account.alias for account, _problems in page]) if runs else {}
        number = len(of_host) + sum(len(problems) for _account, problems in found)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": capfirst(self.opts.verbose_name_plural),
            "subtitle": None,
            "media": self.media,
            "is_configured": bool(found),
            "number": number,
            "runs": runs,
            "of_host": of_host,
            "wanted": wanted,
            "page": page,
            "accounts": [
                {"status": account, "findings": problems, "lines": _lines(account, first, runs=runs)}
                for account, problems in page
            ],
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_plugchat/overview.html", context)

    def _findings(self, request: HttpRequest, account: AccountStatus, *, runs: bool) -> list[dict[str, Any]]:
        shown = []
        for name, text, command in account.findings:
            model, filters = ROWS.get(name, ("deliveryevent", {}))
            if not request.user.has_perm(f"django_plugchat.view_{model}"):
                continue
            if not runs and name in FOR_SUPPORT:
                text = FOR_SUPPORT[name] % {"count": account.figures.counts[_COUNTED.get(name, "")]}
            query = {"account": account.alias, **filters}
            if name in _OF_A_DAY:
                query["received_from"] = times.local(timezone.now() - DAY).date().isoformat()
            url = reverse(f"admin:django_plugchat_{model}_changelist", current_app=self.admin_site.name)
            shown.append(
                {
                    "mark": NAMES[name],
                    "text": text,
                    "name": name if runs else "",
                    "words": command.split() if runs else [],
                    "rows": f"{url}?{urlencode(query)}" if name in ROWS else "",
                }
            )
        return shown


def _lines(account: AccountStatus, first_calls: Any, *, runs: bool) -> Iterator[str]:
    yield from map(capfirst, describe(account.figures, only_provider=not runs))
    if not runs:
        return
    yield from map(str, account.other_secrets)
    for registration in account.figures.registrations:
        first, last = first_calls.get((account.alias, registration.webhook)), account.figures.last_call(registration)
        values = {"when": times.shown(registration.registered_at), "secret": registration.secret_id}
        parts = [gettext("registered on %(when)s, secret %(secret)s") % values]
        if first:
            parts.append(gettext("first called on %(when)s") % {"when": times.shown(first)})
        if last:
            parts.append(gettext("last called on %(when)s") % {"when": times.shown(last)})
        else:
            parts.append(gettext("not called since"))
        yield f"{registration.webhook}: {', '.join(parts)}"
