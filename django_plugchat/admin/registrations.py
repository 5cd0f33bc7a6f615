"""What this site registered with PlugChat last, and the page that says how each account is doing."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_plugchat.admin import overview
from django_plugchat.admin.base import ReadOnlyAdmin, time_tag
from django_plugchat.models import Registration


@admin.register(Registration)
class RegistrationAdmin(ReadOnlyAdmin):
    list_display = ("account_label", "webhook", "registered", "secret_id")
    fields = readonly_fields = list_display
    ordering = ("account", "webhook")

    @admin.display(description=_("registered at"))
    def registered(self, registration: Registration) -> SafeString:
        return time_tag(registration.registered_at)

    def get_urls(self) -> list[URLPattern]:
        view: Any = self.admin_site.admin_view(self.overview)
        return [path("overview/", view, name="django_plugchat_overview"), *super().get_urls()]

    def overview(self, request: HttpRequest) -> HttpResponse:
        return overview.page(self, request)
