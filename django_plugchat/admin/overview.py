"""How the accounts are doing: what ``plugchat_status`` says, for people who run nothing."""

from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst

from django_plugchat import times
from django_plugchat.admin.base import ReadOnlyAdmin, seen_accounts
from django_plugchat.models import Account, Connection
from django_plugchat.upkeep import findings
from django_plugchat.upkeep.figures import DAY, describe, first_calls

ACCOUNTS_ON_A_PAGE = 25
#: Where the rows are that a finding is about, if the admin has them: in which list, by which filters. Of a finding of
#: 24 hours, the list shows both days: it knows no hours.
ROWS = {
    "failures": ("deliveryevent", "?account={account}&situation=failed&received_from={yesterday}"),
    "undelivered": ("deliveryevent", "?account={account}&situation=sent&received_from={yesterday}"),
    "waiting": ("deliveryevent", "?account={account}&dispatch_status__exact=pending"),
    "exhausted": ("deliveryevent", "?account={account}&dispatch_status__exact=exhausted"),
    "retrying": ("deliveryevent", "?account={account}&dispatch_status__exact=retrying"),
    "rejected": ("rejectedcallback", "?account={account}"),
    "rejected_full": ("rejectedcallback", "?account={account}"),
    "unknown_status": ("rejectedcallback", "?account={account}&reason__exact=unknown_status"),
}


@admin.register(Connection)
class OverviewAdmin(ReadOnlyAdmin):
    """In the place of a list of connections: the admin's index and sidebar know lists and no other pages."""

    ordering = ("account", "instance_id")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("django_plugchat.view_deliveryevent")

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="django_plugchat_connection_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Accounts with something that needs a person first; the others after them, closed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        runs, seen = request.user.has_perm("django_plugchat.redispatch_deliveryevent"), seen_accounts(request)
        found = [(account, _findings(request, account)) for account in findings.statuses(seen)]
        of_host = findings.of_this_host() if runs and seen is None else []
        wanted = request.GET.get("q", "").strip()
        # Sorting keeps the order of equals.
        shown = sorted((each for each in found if wanted.lower() in each[0].name.lower()), key=lambda each: not each[1])
        page = Paginator(shown, ACCOUNTS_ON_A_PAGE).get_page(request.GET.get("p"))
        aliases = [account.alias for account, _problems in page]
        first = first_calls(aliases) if runs else {}
        keys = dict(Account.objects.filter(alias__in=aliases).values_list("alias", "pk"))
        accounts = [
            {
                "status": account,
                "findings": problems,
                "facts": list(describe(account.figures, only_provider=not runs)),
                "registrations": [
                    (each, first.get((account.alias, each.webhook)), account.figures.last_call(each))
                    for each in account.figures.registrations
                ],
                "pk": keys.get(account.alias),
            }
            for account, problems in page
        ]
        number = len(of_host) + sum(len(problems) for _account, problems in found)
        title = capfirst(self.opts.verbose_name_plural)
        context = {"runs": runs, "of_host": of_host, "number": number, "wanted": wanted, "page": page}
        return self.own_page(request, "overview", title, accounts=accounts, **context)


def _findings(request: HttpRequest, account: findings.AccountStatus) -> list[tuple[findings.Finding, str, str]]:
    """Those that this user may look after, each with the list and the filters of its rows."""
    values = {"account": quote(account.alias, safe=""), "yesterday": times.today() - DAY}
    found = [(finding, *ROWS.get(finding.name, ("deliveryevent", ""))) for finding in account.findings]
    may = request.user.has_perm
    return [(it, model, query.format(**values)) for it, model, query in found if may(f"django_plugchat.view_{model}")]
