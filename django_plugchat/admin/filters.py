"""What the lists are narrowed by. Each filter is one condition that an index answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_plugchat import times
from django_plugchat.conf import app_settings
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure

MAX_ACCOUNTS_LISTED = 20
#: No index has the kind of a failure: of so many of the newest ones it is looked for.
MAX_FAILURES_READ = 2_000
_Outcome = DeliveryEvent.Outcome


def _is_page(request: HttpRequest, name: str) -> bool:
    match = request.resolver_match
    return match is not None and str(match.url_name).endswith(f"_{name}")


class _TypedFilter(admin.ListFilter):
    """One that a person may type into. Its ``<form>`` is in ``change_list.html``, with ``form_id``.

    Some themes wrap all filters in a form of their own, and forms don't nest.
    """

    parameters: ClassVar[tuple[str, ...]]
    form_id: ClassVar[str]

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.parameters if name in params}
        self.used_parameters = {name: value for name, value in given.items() if value.strip()}
        #: What else is chosen, which the form has to keep; not the page, which is another one's then.
        self.others = [
            (name, value)
            for name, values in request.GET.lists()
            for value in values
            if name not in {*self.parameters, "p", "e"}
        ]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameters)


class AccountFilter(_TypedFilter):
    """A list of the accounts; where there are many, a field that takes an alias or a part of a label."""

    title = _("account")
    parameter_name = "account"
    parameters = ("account",)
    form_id = "plugchat-account"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.typed = str(self.used_parameters.get("account", "")).strip()
        accounts = app_settings.accounts
        self.is_searched = len(accounts) > MAX_ACCOUNTS_LISTED
        if self.is_searched:
            self.template = "admin/django_plugchat/account_filter.html"
        #: The accounts that can be chosen: alias and label.
        self.listed: list[tuple[str, str]] = []
        #: The one that is chosen.
        self.alias = self.typed
        if not self.is_searched:
            self.listed = [(alias, account.label) for alias, account in accounts.items()]
        elif self.typed in accounts:
            self.listed = [(self.typed, accounts[self.typed].label)]
        elif self.typed:
            self._search()

    def _search(self) -> None:
        wanted = self.typed.casefold()
        found = (
            (alias, account.label)
            for alias, account in app_settings.accounts.items()
            if wanted in alias.casefold() or wanted in account.label.casefold()
        )
        self.listed = [pair for pair, _number in zip(found, range(MAX_ACCOUNTS_LISTED), strict=False)]
        # None of them: perhaps one that is no longer configured, by its alias.
        if len(self.listed) == 1:
            self.alias = self.listed[0][0]

    @property
    def is_ambiguous(self) -> bool:
        return self.is_searched and len(self.listed) > 1

    def choices(self, changelist: Any) -> Iterator[Any]:
        for alias, label in [("", pgettext("accounts", "All")), *self.listed]:
            yield {
                "selected": alias == self.alias,
                "query_string": changelist.get_query_string({"account": alias or None}),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.is_ambiguous:
            return queryset.none()
        return queryset.filter(account=self.alias) if self.alias else queryset


class ReceivedFilter(_TypedFilter):
    """Today, the last days, or a range of days; days begin at midnight of the current time zone."""

    template = "admin/django_plugchat/received_filter.html"
    parameter_name = "received"
    parameters = ("received", "received_from", "received_to")
    form_id = "plugchat-range"
    _DAYS = {"today": 1, "7": 7, "30": 30}

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.title = gettext("time (%(time_zone)s)") % {"time_zone": timezone.get_current_timezone_name()}
        super().__init__(request, params, model, model_admin)
        self.days = str(self.used_parameters.get("received", ""))
        if self.days and self.days not in self._DAYS:
            raise IncorrectLookupParameters
        self.since = self._day("received_from")
        self.until = self._day("received_to")
        if self.days:
            self.until = times.today()
            self.since = self.until - timedelta(days=self._DAYS[self.days] - 1)

    def _day(self, name: str) -> date | None:
        given = self.used_parameters.get(name)
        if given is None:
            return None
        try:
            day = date.fromisoformat(str(given))
        except ValueError:
            raise IncorrectLookupParameters from None
        if not 2000 <= day.year < 2200:
            raise IncorrectLookupParameters
        return day

    def choices(self, changelist: Any) -> Iterator[Any]:
        labels = {"": _("Any time"), "today": _("Today"), "7": _("Last 7 days"), "30": _("Last 30 days")}
        for value, label in labels.items():
            yield {
                "selected": value == self.days and (bool(value) or not self.used_parameters),
                "query_string": changelist.get_query_string(
                    {"received": value or None, "received_from": None, "received_to": None}
                ),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since:
            queryset = queryset.filter(received_at__gte=times.start_of(self.since))
        if self.until:
            queryset = queryset.filter(received_at__lt=times.start_of(self.until + timedelta(days=1)))
        return queryset


class ShowFilter(admin.SimpleListFilter):
    """Delivery callbacks, one of each message; or what else was said.

    What only statuses have, or events of both kinds, is looked for in all of them: a search, a dispatch, "Read".
    """

    title = _("kind")
    parameter_name = "show"
    DELIVERIES, STATUSES, EVERYTHING = "deliveries", "statuses", "all"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        given = request.GET
        outcome = given.get("outcome__exact", "")
        of_all = given.get("dispatch_status__exact") or (outcome and outcome not in {_Outcome.SENT, _Outcome.FAILED})
        self.is_search = bool(given.get("q", "").strip())
        self.default = self.EVERYTHING if of_all or self.is_search else self.DELIVERIES
        self.chosen = self.default if self.is_search else self.value() or self.default
        # Only delivery callbacks fail. Said twice, PostgreSQL would combine two indexes and read half a table.
        self.is_said = outcome == _Outcome.FAILED or bool(given.get("failure"))

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            (self.DELIVERIES, _("Messages")),
            (self.STATUSES, _("Statuses")),
            (self.EVERYTHING, _("Everything")),
        ]

    def has_output(self) -> bool:
        return not self.is_search

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in self.lookup_choices:
            yield {
                "selected": value == self.chosen,
                "query_string": changelist.get_query_string(
                    {self.parameter_name: None if value == self.default else value}
                ),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows: Any = queryset
        match self.chosen:
            case self.DELIVERIES | self.STATUSES if _is_page(request, "chart"):
                return queryset  # It counts delivery callbacks, whatever the list shows.
            case self.DELIVERIES:
                return queryset if self.is_said else rows.deliveries()
            case self.STATUSES:
                return rows.statuses()  # type: ignore[no-any-return]
            case self.EVERYTHING:
                return queryset
        raise IncorrectLookupParameters


class FailureFilter(admin.SimpleListFilter):
    """After the filters that have an index: of what they leave, the list reads the newest. A file has them all."""

    title = _("failure")
    parameter_name = "failure"
    #: Failures before this were not looked at.
    read_since: datetime | None = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Failure.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        kind = self.value()
        if not kind:
            return queryset
        if kind not in Failure.values:
            raise IncorrectLookupParameters
        rows: Any = queryset
        if _is_page(request, "changelist") and not request.GET.get("q", "").strip():
            newest = rows.failed().order_by("-received_at", "-pk").values_list("received_at", flat=True)
            self.read_since = newest[MAX_FAILURES_READ : MAX_FAILURES_READ + 1].first()
            if self.read_since:
                rows = rows.filter(received_at__gte=self.read_since)
        return rows.failed_because(kind)  # type: ignore[no-any-return]
