"""The accounts of the database: whether each lives, and how one is connected. A secret is shown once, by one page."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_plugchat import accounts, conf, times
from django_plugchat.admin.base import ReadOnlyAdmin, seen_accounts
from django_plugchat.conf import app_settings
from django_plugchat.models import Account, Connection, DeliveryEvent, Registration, RejectedCallback
from django_plugchat.registering import addresses, registration
from django_plugchat.registering.probe import ProbeError, probe
from django_plugchat.story import pill
from django_plugchat.upkeep.figures import Figures, describe
from django_plugchat.upkeep.findings import statuses

#: A secret by which nothing has come for so long can be retired without a warning.
IN_USE = timedelta(days=7)


class RegisterForm(forms.Form):
    """What registering needs. Neither the token nor the Client-Token is kept, nor shown again after a mistake."""

    token = forms.CharField(label=_("API token"), widget=forms.PasswordInput)
    client_token = forms.CharField(
        label="Client-Token",
        required=False,
        widget=forms.PasswordInput,
        help_text=_("The security token of the Z-API account, where that is switched on."),
    )
    with_status = forms.BooleanField(label=_("Statuses too: received, read, played"), required=False, initial=True)
    with_connection = forms.BooleanField(
        label=_("Tell when the number is connected or disconnected"), required=False, initial=True
    )

    def __init__(self, row: Account, data: Any) -> None:
        super().__init__(data, label_suffix="")
        self.row = row
        self.fields["token"].required = not app_settings.token_source
        if row.provider != conf.Z_API:
            del self.fields["client_token"]

    def register(self) -> registration.Job | None:
        """None where nothing was done, and the form says why."""
        given = self.cleaned_data
        try:
            account = accounts.with_token(replace(accounts.described(self.row), token=given["token"]))
            account = replace(account, client_token=given.get("client_token") or account.client_token)
            webhooks = registration.webhooks(given["with_status"], given["with_connection"])
            job = registration.Job(account, webhooks)
            job.begin()
        except ValueError as error:
            self.add_error(None, str(error))
            return None
        job.run()
        job.finish()
        return job


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    change_form_template = "admin/django_plugchat/account/change_form.html"
    account_field = "alias"
    ordering = ("alias", "pk")
    list_display = ("__str__", "alias", "state", "newest_event", "provider")
    list_filter = ("is_active", "provider")
    search_fields = ("alias", "label", "instance__exact")
    actions = None

    has_change_permission = admin.ModelAdmin.has_change_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Whoever sees some accounts only would add one that is not among them.
        return seen_accounts(request) is None and admin.ModelAdmin.has_add_permission(self, request)

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
        connections = Connection.objects.filter(account=OuterRef("alias")).order_by("is_connected")
        events = DeliveryEvent.objects.filter(account=OuterRef("alias")).order_by("-received_at", "-pk")
        return rows.for_writing().annotate(  # type: ignore[no-any-return]
            # False where any of its instances is disconnected, None where nothing is known.
            is_connected=Subquery(connections.values("is_connected")[:1]),
            newest_event_at=Subquery(events.values("received_at")[:1]),
        )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # For each word another condition, of which SQLite takes no thousand.
        return super().get_search_results(request, queryset, search_term[:1000])

    @admin.display(description=_("state"))
    def state(self, row: Any) -> str:
        if not row.is_active:
            return pill("quiet", _("inactive"))
        if row.is_connected is None:
            return pill("quiet", _("active"))
        return pill("sent", _("connected"), "✓") if row.is_connected else pill("failed", _("disconnected"), "!")

    @admin.display(description=_("newest event"))
    def newest_event(self, row: Any) -> Any:
        return times.shown(row.newest_event_at) if row.newest_event_at else _("none")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["alias", "label", "provider", "instance"]
        return [(_("Settings"), {"fields": [*fields, "is_active"]}) if obj else (None, {"fields": fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("alias",)

    def response_add(self, request: HttpRequest, obj: Account, *args: Any) -> HttpResponse:
        self.message_user(request, gettext("The account was added. Connect it next."), messages.SUCCESS)
        return self._back(obj)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if row := context["original"]:
            # None of an account that is inactive and of which nothing is stored.
            status = next(iter(statuses([row.alias])), None)
            figures = status.figures if status else Figures()
            secrets, last = row.secrets.order_by("-created_at", "-pk"), _last_by_secret(row)
            context |= {
                "findings": status.findings if status else [],
                "facts": list(describe(figures)),
                "webhooks": [(each, figures.last_call(each)) for each in figures.registrations],
                "secrets": [(secret, last.get(secret.secret_id)) for secret in secrets],
                "registered": {each.secret_id for each in figures.registrations},
                "is_shadowed": row.alias in app_settings.accounts,
                "may_connect": self.has_change_permission(request, row) and self._may_connect(row),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.step)
        names = [(step, f"django_plugchat_account_{step}") for step in ("register", "address", "test", "retire")]
        steps = [path(f"<int:pk>/{step}/", view, {"step": step}, name=name) for step, name in names]
        return [*steps, *super().get_urls()]

    @method_decorator(sensitive_post_parameters())
    @sensitive_variables()
    def step(self, request: HttpRequest, pk: int, step: str) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        row: Account = get_object_or_404(self.get_queryset(request), pk=pk)
        if step != "retire":
            if not self._may_connect(row):
                raise PermissionDenied
            try:
                addresses.url_with("a-new-secret")
            except addresses.UnusableURLError as error:
                self.message_user(request, str(error), messages.ERROR)
                return self._back(row)
        return getattr(self, step)(request, row)  # type: ignore[no-any-return]

    def _may_connect(self, row: Account) -> bool:
        # The settings' account wins, and has a secret and a token of its own there.
        return row.is_active and row.alias not in app_settings.accounts

    def _back(self, row: Account) -> HttpResponseRedirect:
        url = reverse("admin:django_plugchat_account_change", args=[row.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    def _page(self, request: HttpRequest, row: Account, step: str, title: str, **context: Any) -> HttpResponse:
        # Rendered here, under the eyes of sensitive_variables.
        return self.own_page(request, f"account/{step}", title, original=row, **context).render()

    def _done(self, request: HttpRequest, row: Account, done: str, level: int = messages.SUCCESS) -> HttpResponse:
        self.log_change(request, row, done)
        self.message_user(request, done, level)
        return self._back(row)

    def register(self, request: HttpRequest, row: Account) -> HttpResponse:
        form = RegisterForm(row, request.POST if request.method == "POST" else None)
        job = form.register() if form.is_valid() else None
        if job is None:
            title = gettext("Register %(account)s") % {"account": row}
            return self._page(request, row, "register", title, form=form, public_url=app_settings.public_url)
        values = {"id": job.secret_id, "webhooks": ", ".join(job.taken)}
        if job.taken:
            self._done(request, row, gettext("Registered with secret %(id)s: %(webhooks)s.") % values)
        if job.problems:
            self._done(request, row, " ".join(job.problems), messages.ERROR)
        for warning in job.warnings:
            self.message_user(request, warning, messages.WARNING)
        return self._back(row)

    def address(self, request: HttpRequest, row: Account) -> HttpResponse:
        context = {}
        if request.method == "POST":
            secret = accounts.new_secret(row.alias)
            context = {"url": addresses.url_with(secret), "id": conf.secret_id(secret)}
            self.log_change(request, row, gettext("Showed a new address with secret %(id)s.") % context)
        title = gettext("A new address for %(account)s") % {"account": row}
        return self._page(request, row, "address", title, **context)

    def test(self, request: HttpRequest, row: Account) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        url = addresses.url_with("a-made-up-secret-of-the-probe")
        try:
            probe(url, timeout=app_settings.api_timeout, secret_is_known=False)
        except ProbeError as error:
            text = gettext("The test callback did not get through.")
            return self._done(request, row, f"{text} {error}", messages.ERROR)
        text = gettext("The test callback got through: this site answers at %(url)s.")
        return self._done(request, row, text % {"url": app_settings.public_url})

    def retire(self, request: HttpRequest, row: Account) -> HttpResponse:
        secret_id, known = request.GET.get("secret_id", ""), list(row.secrets.values_list("secret_id", flat=True))
        if secret_id not in known:
            self.message_user(request, gettext("The account has no secret with this id."), messages.WARNING)
            return self._back(row)
        if request.method == "POST":
            accounts.retire(row.alias, secret_id)
            text = gettext("The secret %(id)s was retired. In 30 seconds no process takes it any more.")
            return self._done(request, row, text % {"id": secret_id})
        context = {
            "last": _last_by_secret(row).get(secret_id),
            "is_registered": Registration.objects.for_account(row.alias).filter(secret_id=secret_id).exists(),
            "is_only": len(known) == 1,
        }
        title = gettext("Retire the secret %(id)s") % {"id": secret_id}
        return self._page(request, row, "retire", title, **context)


def _last_by_secret(row: Account) -> dict[str, datetime]:
    """When an event last came by each secret, of those that are in use."""
    events = DeliveryEvent.objects.for_writing().for_account(row.alias).order_by()
    events = events.filter(received_at__gt=timezone.now() - IN_USE)
    return dict(events.values_list("secret_id").annotate(Max("last_received_at")))
