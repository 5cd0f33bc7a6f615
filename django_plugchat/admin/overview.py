"""What ``plugchat_status`` says, as a page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_plugchat.models import DeliveryEvent
from django_plugchat.upkeep.figures import describe
from django_plugchat.upkeep.findings import AccountStatus, Finding, statuses

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
}

#: Where the rows are that a finding is about: the model, and what its list is filtered by.
ROWS = {
    "failures": ("deliveryevent", {"outcome__exact": "failed", "received": "today"}),
    "exhausted": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.EXHAUSTED.value}),
    "retrying": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.RETRYING.value}),
    "waiting": ("deliveryevent", {"dispatch_status__exact": DeliveryEvent.DispatchStatus.PENDING.value}),
    "rejected": ("rejectedcallback", {}),
    "rejected_full": ("rejectedcallback", {}),
    "unknown_status": ("rejectedcallback", {}),
}


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm("django_plugchat.view_deliveryevent")


def page(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Accounts with something that needs a person first; the others after them, closed."""
    if not may_see(request):
        raise PermissionDenied
    found = statuses()
    findings = sum(len(account.findings) for account in found)
    wanted = request.GET.get("q", "").strip()
    shown = [account for account in found if wanted.lower() in account.name.lower()]
    # Sorting keeps the order of equals.
    shown.sort(key=lambda account: not account.findings)
    accounts = Paginator(shown, ACCOUNTS_ON_A_PAGE).get_page(request.GET.get("p"))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": gettext("How the accounts are doing"),
        "subtitle": None,
        "media": model_admin.media,
        "summary": _summary(len(found), findings),
        "findings": findings,
        "wanted": wanted,
        "page": accounts,
        "other_pages": _other_pages(accounts, wanted),
        "accounts": [
            {
                "status": account,
                "lines": [*describe(account.figures), *map(str, account.other_secrets)],
                "findings": [
                    {
                        "finding": finding,
                        "name": NAMES[finding.name],
                        "words": finding.command.split(" "),
                        "rows": _rows(model_admin, request, account, finding),
                    }
                    for finding in account.findings
                ],
            }
            for account in accounts
        ],
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/django_plugchat/overview.html", context)


def _summary(accounts: int, findings: int) -> str:
    if findings:
        return ngettext("%(count)d thing needs a person.", "%(count)d things need a person.", findings) % {
            "count": findings
        }
    return gettext("Nothing needs a person.") if accounts else gettext("No account is configured.")


def _other_pages(accounts: Any, wanted: str) -> list[tuple[str, str]]:
    pages = []
    if accounts.has_previous():
        pages.append((gettext("Previous page"), accounts.previous_page_number()))
    if accounts.has_next():
        pages.append((gettext("Next page"), accounts.next_page_number()))
    return [(text, "?" + urlencode({"q": wanted, "p": number})) for text, number in pages]


def _rows(model_admin: Any, request: HttpRequest, account: AccountStatus, finding: Finding) -> str:
    """The address of the rows that a finding is about, for those who may see them."""
    model, filters = ROWS.get(finding.name, ("", {}))
    if not model or not request.user.has_perm(f"django_plugchat.view_{model}"):
        return ""
    url = reverse(f"admin:django_plugchat_{model}_changelist", current_app=model_admin.admin_site.name)
    return f"{url}?{urlencode({'account': account.alias, **filters})}"
