"""What the lists are narrowed by."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy as _

from django_plugchat import accounts, times
from django_plugchat.admin.base import is_page, seen_accounts
from django_plugchat.models import DeliveryEvent
from django_plugchat.provider.errors import Failure

MAX_ACCOUNTS_LISTED = 20
#: How far a message has come is looked up for one after another: of so many, the newest in range.
MAX_MESSAGES_READ = 20_000
_Outcome = DeliveryEvent.Outcome

# What a person may type into has its <form>, of the id ``form_id``, in change_list.html: some themes wrap all filters
# in a form of their own, and forms don't nest.


class AccountFilter(admin.SimpleListFilter):
    """A list of the accounts; where there are many, a field that takes an alias or a part of a label."""

    title = _("account")
    parameter_name = "account"
    form_id = "plugchat-account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = seen_accounts(request)
        #: The accounts that this user sees: alias and label.
        self.labels = {alias: label for alias, label in accounts.labels().items() if seen is None or alias in seen}
        self.typed = str(self.used_parameters.get("account", "")).strip()
        # It may also be the alias of one that is no longer configured.
        chosen, found = self.typed, list(self.labels.items())
        if len(found) > MAX_ACCOUNTS_LISTED:
            self.template = "admin/django_plugchat/account_filter.html"
            wanted = self.typed.casefold()
            found = [pair for pair in found if wanted and any(wanted in text.casefold() for text in pair)]
            found = [pair for pair in found if pair[0] == self.typed] or found[:MAX_ACCOUNTS_LISTED]
            if len(found) == 1:
                chosen = found[0][0]
        self.used_parameters = {"account": chosen} if chosen else {}
        return found

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(account=self.value()) if self.value() else queryset


class ReceivedFilter(admin.SimpleListFilter):
    """Today, the last days, or a range of days; days begin at midnight of the current time zone."""

    template = "admin/django_plugchat/received_filter.html"
    parameter_name = "received"
    form_id = "plugchat-range"
    #: Of each choice: its label, how many days ago it begins, and how many days ago it ends.
    _CHOICES = {
        "today": (_("Today"), 0, 0),
        "yesterday": (_("Yesterday"), 1, 1),
        "7": (_("Last 7 days"), 6, 0),
        "30": (_("Last 30 days"), 29, 0),
    }

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.title = gettext("time (%(time_zone)s)") % {"time_zone": timezone.get_current_timezone_name()}
        self.since, self.until = (_day(params.pop(name, [""])[-1].strip()) for name in ("received_from", "received_to"))
        super().__init__(request, params, model, model_admin)
        #: None for any time, "" for days of the user's own.
        self.chosen = self.value() or ("" if self.since or self.until else None)
        if self.chosen:
            if self.chosen not in self._CHOICES:
                raise IncorrectLookupParameters
            self.since, self.until = (times.today() - timedelta(days=ago) for ago in self._CHOICES[self.chosen][1:])

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [(value, label) for value, (label, _first, _last) in self._CHOICES.items()]

    def expected_parameters(self) -> list[Any]:
        return ["received", "received_from", "received_to"]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in [(None, _("Any time")), *self.lookup_choices]:
            yield {
                "selected": value == self.chosen,
                "query_string": changelist.get_query_string({"received": value}, remove=["received"]),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.since:
            queryset = queryset.filter(received_at__gte=times.start_of(self.since))
        if self.until:
            queryset = queryset.filter(received_at__lt=times.start_of(self.until + timedelta(days=1)))
        return queryset


def _day(given: str) -> date | None:
    try:
        day = date.fromisoformat(given) if given else None
    except ValueError:
        raise IncorrectLookupParameters from None
    if day and not 2000 <= day.year < 2200:
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

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        situation, rows = self.value(), queryset
        if not situation:
            return rows
        if situation not in dict(self.lookup_choices):
            raise IncorrectLookupParameters
        if not is_page(request, "export") and not request.GET.get("q", "").strip():
            newest = rows.deliveries().order_by("-received_at", "-pk").values_list("received_at", flat=True)
            self.read_since = newest[MAX_MESSAGES_READ : MAX_MESSAGES_READ + 1].first()
            if self.read_since:
                rows = rows.filter(received_at__gte=self.read_since)
        if situation in Failure.values:
            rows = rows.filter(failure=situation)
            situation = _Outcome.FAILED
        return rows.with_progress().filter(progress=situation)
