"""What the lists are narrowed by."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_plugchat import accounts, times
from django_plugchat.admin.base import seen_accounts
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure

MAX_ACCOUNTS_LISTED = 20
#: How far a message has come is looked up for one after another: of so many, the newest in range.
MAX_MESSAGES_READ = 20_000
_Outcome = DeliveryEvent.Outcome


def labels_of(request: HttpRequest) -> dict[str, str]:
    """The accounts that this user sees: alias and label."""
    seen = seen_accounts(request)
    return {alias: label for alias, label in accounts.labels().items() if seen is None or alias in seen}


class _TypedFilter(admin.ListFilter):
    """One that a person may type into. Its ``<form>`` is in ``change_list.html``, with ``form_id``.

    Some themes wrap all filters in a form of their own, and forms don't nest.
    """

    parameters: ClassVar[tuple[str, ...]]
    form_id: ClassVar[str]

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1].strip() for name in self.parameters if name in params}
        self.used_parameters = {name: value for name, value in given.items() if value}
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
        self.typed = str(self.used_parameters.get("account", ""))
        labels = labels_of(request)
        self.is_searched = len(labels) > MAX_ACCOUNTS_LISTED
        #: The accounts that can be chosen: alias and label.
        self.listed = list(labels.items())
        #: The one that is chosen.
        self.alias = self.typed
        if self.is_searched:
            self.template = "admin/django_plugchat/account_filter.html"
            wanted = self.typed.casefold()
            found = [pair for pair in self.listed if wanted and any(wanted in text.casefold() for text in pair)]
            self.listed = [pair for pair in found if pair[0] == self.typed] or found[:MAX_ACCOUNTS_LISTED]
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
    #: Of each choice: how many days ago it begins, and how many days ago it ends.
    _DAYS = {"today": (0, 0), "yesterday": (1, 1), "7": (6, 0), "30": (29, 0)}
    _LABELS = {
        "": _("Any time"),
        "today": _("Today"),
        "yesterday": _("Yesterday"),
        "7": _("Last 7 days"),
        "30": _("Last 30 days"),
    }

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.title = gettext("time (%(time_zone)s)") % {"time_zone": timezone.get_current_timezone_name()}
        super().__init__(request, params, model, model_admin)
        self.days = str(self.used_parameters.get("received", ""))
        if self.days and self.days not in self._DAYS:
            raise IncorrectLookupParameters
        self.typed_since, self.typed_until = (str(self.used_parameters.get(name, "")) for name in self.parameters[1:])
        self.since, self.until = _day(self.typed_since), _day(self.typed_until)
        if self.days:
            self.since, self.until = (times.today() - timedelta(days=ago) for ago in self._DAYS[self.days])

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in self._LABELS.items():
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


def _day(given: str) -> date | None:
    if not given:
        return None
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise IncorrectLookupParameters from None
    if not 2000 <= day.year < 2200:
        raise IncorrectLookupParameters
    return day


class SituationFilter(admin.SimpleListFilter):
    """How far messages have come. After the filters that have an index: of what these leave, it reads the newest.

    Of a search it reads what was found, and a file has them all.
    """

    title = _("situation")
    parameter_name = "situation"
    most_read = MAX_MESSAGES_READ
    #: Messages before this were not read.
    read_since: datetime | None = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        labels = dict(_Outcome.choices) | {_Outcome.SENT.value: _("Sent, not yet received")}
        failures = [(kind, format_lazy("{}: {}", _Outcome.FAILED.label, label)) for kind, label in Failure.choices]
        return [*labels.items(), *failures]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        situation = self.value()
        if not situation:
            return queryset
        if situation not in {*_Outcome.values, *Failure.values}:
            raise IncorrectLookupParameters
        rows: Any = queryset
        is_file = request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_export")
        if not is_file and not request.GET.get("q", "").strip():
            newest = rows.deliveries().order_by("-received_at", "-pk").values_list("received_at", flat=True)
            self.read_since = newest[MAX_MESSAGES_READ : MAX_MESSAGES_READ + 1].first()
            if self.read_since:
                rows = rows.filter(received_at__gte=self.read_since)
        if situation in Failure.values:
            rows = rows.failed_because(situation)
            situation = _Outcome.FAILED
        return rows.with_progress().filter(progress=situation)  # type: ignore[no-any-return]
