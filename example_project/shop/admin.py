from django.contrib import admin

from example_project.shop.models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("reference", "customer", "whatsapp", "problem", "zaap_id")
    list_filter = ("whatsapp", "problem")
    search_fields = ("reference", "customer", "zaap_id", "message_id")
