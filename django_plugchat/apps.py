from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoPlugchatConfig(AppConfig):
    name = "django_plugchat"
    label = "django_plugchat"
    verbose_name = _("PlugChat")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_plugchat import checks, redaction

        checks.register_checks()
        redaction.protect_django_logs()
