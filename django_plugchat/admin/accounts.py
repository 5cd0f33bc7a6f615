"""The accounts of the database: whether each lives, and what a person does to connect it.

Secrets and tokens are in no message, no history, no log and no session: a new URL is on the page that answers the POST.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_plugchat import accounts, conf
from django_plugchat.admin.base import NewestFirst, ReadOnlyAdmin, pill, seen_accounts, time_tag
from django_plugchat.admin.overview import NAMES
from django_plugchat.client import PlugChatError
from django_plugchat.conf import Z_API, app_settings
from django_plugchat.models import Account, Connection, DeliveryEvent, Registration, RejectedCallback
from django_plugchat.registering import addresses, registration
from django_plugchat.registering.probe import ProbeError, probe
from django_plugchat.upkeep.figures import Figures, describe
from django_plugchat.upkeep.findings import statuses

logger = logging.getLogger(__name__)

#: A secret by which nothing has come for so long can be retired without a warning.
IN_USE = timedelta(days=7)
#: Of the events of that time, the page of an account looks at the newest.
_MOST_EVENTS = 10_000


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_alias(self) -> str:
        alias: str = self.cleaned_data["alias"]
        try:
            accounts.ensure_free(alias)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return alias


class RegisterForm(forms.Form):
    """What registering needs. Neither the token nor the Client-Token is kept, nor shown again after a mistake."""

    token = forms.CharField(
        label=_("API token"),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("It is used for this and kept nowhere."),
    )
    client_token = forms.CharField(
        label="Client-Token",
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("The security token of the Z-API account, where that is switched on."),
    )
    with_status = forms.BooleanField(label=_("Statuses too: received, read, played"), required=False, initial=True)
    with_connection = forms.BooleanField(
        label=_("Tell when the number is connected or disconnected"), required=False, initial=True
    )

    def __init__(self, account: conf.Account, data: Any) -> None:
        super().__init__(data, label_suffix="")
        self.account = account
        if account.provider != Z_API:
            del self.fields["client_token"]
        if app_settings.token_source:
            self.fields["token"].required = False
            self.fields["token"].help_text = _("Leave it empty to have TOKEN_SOURCE asked. It is kept nowhere.")

    @sensitive_variables()
    def register(self) -> registration.Result | None:
        """None where nothing was done, and the form says why."""
        token, client_token = self.cleaned_data["token"], self.cleaned_data.get("client_token", "")
        try:
            if not token:
                account = accounts.with_token(self.account)
                token, client_token = account.token, client_token or account.client_token
            return registration.register_with_new_secret(
                self.account.alias,
                token=token,
                client_token=client_token,
                with_status=self.cleaned_data["with_status"],
                with_connection=self.cleaned_data["with_connection"],
            )
        except (PlugChatError, ValueError) as error:
            self.add_error(None, str(error))
            return None


class AccountList(NewestFirst):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = self.result_list = list(self.result_list)
        connected: dict[str, list[bool]] = {}
        for connection in Connection.objects.filter(account__in=[row.alias for row in rows]):
            connected.setdefault(connection.account, []).append(connection.is_connected)
        newest = DeliveryEvent.objects.filter(account=OuterRef("alias")).order_by("-received_at", "-pk")
        heard = Account.objects.filter(pk__in=[row.pk for row in rows]).values_list(
            "pk", Subquery(newest.values("received_at")[:1])
        )
        heard_of = dict(heard)
        for row in rows:
            row.connected, row.heard = connected.get(row.alias, []), heard_of.get(row.pk)


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    form = AccountForm
    change_form_template = "admin/django_plugchat/account/change_form.html"
    account_field = "alias"
    ordering = ("alias", "pk")
    list_display = ("name", "state", "newest_event", "provider")
    list_filter = ("is_active", "provider")
    list_per_page = 50
    allowed_lookups = frozenset({"is_active__exact", "provider", "provider__exact"})
    search_fields = ("alias", "label", "instance__exact")
    actions = None

    class Media:
        js = ["django_plugchat/copy.js"]

    # Who may what: Django's permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Whoever sees some accounts only would add one that is not among them.
        return seen_accounts(request) is None and admin.ModelAdmin.has_add_permission(self, request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # With events it is deactivated: its alias is nobody else's.
        is_used = obj is not None and any(
            model.objects.for_writing().for_account(obj.alias).exists() for model in (DeliveryEvent, RejectedCallback)
        )
        return not is_used and super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: Account) -> None:
        for model in (Registration, Connection):
            model.objects.for_writing().for_account(obj.alias).delete()
        super().delete_model(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        rows: Any = super().get_queryset(request)
        return rows.for_writing()  # type: ignore[no-any-return]

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AccountList

    @admin.display(description=_("account"))
    def name(self, row: Account) -> Any:
        if not row.label:
            return row.alias
        return format_html('{}<span class="plugchat-line plugchat-quiet">{}</span>', row.label, row.alias)

    @admin.display(description=_("state"))
    def state(self, row: Any) -> SafeString:
        if not row.is_active:
            return pill("quiet", _("inactive"))
        if not all(row.connected):
            return pill("failed", _("disconnected"), "!")
        return pill("sent", _("connected"), "✓") if row.connected else pill("quiet", _("active"))

    @admin.display(description=_("newest event"))
    def newest_event(self, row: Any) -> Any:
        return time_tag(row.heard) if row.heard else _("none")

    # The page

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ("label", "provider", "instance")
        if obj is None:
            return [(None, {"fields": ("alias", *fields)})]
        return [(_("Settings"), {"fields": ("alias", *fields, "is_active")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("alias",)

    def response_add(self, request: HttpRequest, obj: Account, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, gettext("The account was added. Connect it next."), messages.SUCCESS)
        return self._back(obj)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        context = getattr(response, "context_data", None) or {}
        if row := context.get("original"):
            context.update(self._account(request, row))
        return response

    def _account(self, request: HttpRequest, row: Account) -> dict[str, Any]:
        status = next(iter(statuses([row.alias])), None)
        found = status.figures if status else Figures()
        registered = {kept.secret_id for kept in found.registrations}
        last = _last_by_secret(row)
        return {
            "title": str(row),
            "subtitle": None if str(row) == row.alias else row.alias,
            "findings": [
                {"finding": finding, "name": NAMES.get(finding.name, finding.name)}
                for finding in (status.findings if status else ())
            ],
            "facts": list(describe(found)),
            "webhooks": [
                (kept, time_tag(kept.registered_at), _time_or_nothing(found.last_call(kept)))
                for kept in found.registrations
            ],
            "secrets": [
                {
                    "id": secret.secret_id,
                    "made": time_tag(secret.created_at),
                    "last": _time_or_nothing(last.get(secret.secret_id)),
                    "is_registered": secret.secret_id in registered,
                }
                for secret in row.secrets.order_by("-created_at", "-pk")
            ],
            "is_shadowed": row.alias in app_settings.accounts,
            "may_connect": self._may_connect(row) and self.has_change_permission(request, row),
            "may_retire": self.has_change_permission(request, row),
        }

    # What is done to connect it, each step by permission, by POST, and in the history

    def get_urls(self) -> list[URLPattern]:
        steps = {"register": self.register, "address": self.show_address, "test": self.test, "retire": self.retire}
        return [*(self._step_url(name, view) for name, view in steps.items()), *super().get_urls()]

    def _step_url(self, name: str, view: Callable[[HttpRequest, Account], HttpResponse]) -> URLPattern:
        @sensitive_post_parameters()
        @sensitive_variables()
        def step(request: HttpRequest, object_id: str) -> HttpResponse:
            if not self.has_change_permission(request):
                raise PermissionDenied
            row: Account | None = self.get_object(request, unquote(object_id))
            if row is None:
                raise Http404
            if name != "retire" and not self._may_connect(row):
                raise PermissionDenied
            return view(request, row)

        guarded: Any = self.admin_site.admin_view(step)
        url: URLPattern = path(f"<path:object_id>/{name}/", guarded, name=f"django_plugchat_account_{name}")
        return url

    def _may_connect(self, row: Account) -> bool:
        # The settings' account wins, and has a secret and a token of its own there.
        return row.is_active and row.alias not in app_settings.accounts

    def _back(self, row: Account) -> HttpResponseRedirect:
        url = reverse("admin:django_plugchat_account_change", args=[row.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    def _page(self, request: HttpRequest, row: Account, name: str, title: str, **context: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        context |= {"opts": self.opts, "media": self.media, "title": title, "subtitle": None, "original": row}
        # Rendered here, under the eyes of sensitive_variables.
        return render(
            request, f"admin/django_plugchat/account/{name}.html", self.admin_site.each_context(request) | context
        )

    def _done(self, request: HttpRequest, row: Account, text: str) -> None:
        """Keep in the history and the log what was done, without a secret."""
        self.log_change(request, row, text)
        user: Any = request.user
        logger.info("%s: account %r: %s", user.get_username(), row.alias, text)

    def register(self, request: HttpRequest, row: Account) -> HttpResponse:
        form = RegisterForm(accounts.described(row), request.POST if request.method == "POST" else None)
        result = form.register() if form.is_valid() else None
        if result is None:
            title = gettext("Register %(account)s") % {"account": row}
            return self._page(request, row, "register", title, form=form, public_url=app_settings.public_url)
        values = {"id": result.secret_id, "webhooks": ", ".join(result.taken)}
        if result.taken:
            self._done(request, row, gettext("Registered with secret %(id)s: %(webhooks)s.") % values)
            text = gettext("The provider took the new address for: %(webhooks)s. This page shows when it calls first.")
            self.message_user(request, text % values, messages.SUCCESS)
        if result.problem:
            kept = gettext("The new secret %(id)s was kept: the provider may have taken its address.")
            retired = gettext("The new secret %(id)s was retired again.")
            text = (retired if result.is_retired else kept) % values
            self._done(request, row, gettext("Registering failed.") + " " + text)
            self.message_user(request, f"{result.problem} {text}", messages.ERROR)
        for text in result.differences:
            self.message_user(request, text, messages.ERROR)
        for text in result.warnings:
            self.message_user(request, text, messages.WARNING)
        return self._back(row)

    def show_address(self, request: HttpRequest, row: Account) -> HttpResponse:
        title, problem = gettext("A new address for %(account)s") % {"account": row}, ""
        url = secret_id = ""
        try:
            addresses.ensure_usable()
        except addresses.UnusableURLError as error:
            problem = str(error)
        else:
            if request.method == "POST":
                secret = accounts.new_secret(row.alias)
                url, secret_id = addresses.url_with(secret), conf.secret_id(secret)
                self._done(request, row, gettext("Showed a new address with secret %(id)s.") % {"id": secret_id})
        return self._page(
            request, row, "address", title, url=url, secret_id=secret_id, problem=problem, provider=row.provider
        )

    def test(self, request: HttpRequest, row: Account) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            addresses.ensure_usable()
            probe(
                addresses.url_with("a-made-up-secret-of-the-probe"),
                timeout=app_settings.api_timeout,
                secret_is_known=False,
            )
        except (addresses.UnusableURLError, ProbeError) as error:
            self.message_user(request, str(error), messages.ERROR)
            self._done(request, row, gettext("The test callback did not get through."))
        else:
            text = gettext("The test callback got through: this site answers at %(url)s.")
            self.message_user(request, text % {"url": app_settings.public_url}, messages.SUCCESS)
            self._done(request, row, gettext("The test callback got through."))
        return self._back(row)

    def retire(self, request: HttpRequest, row: Account) -> HttpResponse:
        secret_id = request.GET.get("secret_id", "")
        secret = row.secrets.filter(secret_id=secret_id).first() if secret_id.isalnum() else None
        if secret is None:
            self.message_user(request, gettext("The account has no secret with this id."), messages.WARNING)
            return self._back(row)
        if request.method == "POST":
            accounts.retire(row.alias, secret_id)
            self._done(request, row, gettext("Retired secret %(id)s.") % {"id": secret_id})
            text = gettext("The secret %(id)s was retired. In 30 seconds no process takes it any more.")
            self.message_user(request, text % {"id": secret_id}, messages.SUCCESS)
            return self._back(row)
        events = DeliveryEvent.objects.for_writing().for_account(row.alias).order_by("-received_at", "-pk")
        newest = events.filter(received_at__gt=timezone.now() - IN_USE, secret_id=secret_id).first()
        return self._page(
            request,
            row,
            "retire",
            gettext("Retire the secret %(id)s") % {"id": secret_id},
            last=_time_or_nothing(newest and newest.last_received_at),
            is_registered=Registration.objects.for_account(row.alias).filter(secret_id=secret_id).exists(),
            is_only=row.secrets.count() == 1,
        )


def _time_or_nothing(moment: datetime | None) -> str:
    return time_tag(moment) if moment else ""


def _last_by_secret(row: Account) -> dict[str, datetime]:
    """When an event last came by each secret, of the newest of a week."""
    events = DeliveryEvent.objects.for_account(row.alias).filter(received_at__gt=timezone.now() - IN_USE)
    last: dict[str, datetime] = {}
    for secret_id, moment in events.order_by("-received_at", "-pk").values_list("secret_id", "last_received_at")[
        :_MOST_EVENTS
    ]:
        last[secret_id] = max(moment, last.get(secret_id, moment))
    return last
