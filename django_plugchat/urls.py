from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from django_plugchat.conf import digest_of
from django_plugchat.views import callback

app_name = "plugchat"


class SecretConverter(StringConverter):
    """A webhook secret in a URL, as its digest. Whose it is, the view asks: URLs are resolved on ASGI's event loop."""

    def to_python(self, value: str) -> str:
        return digest_of(value)


register_converter(SecretConverter, "plugchat_secret")

urlpatterns = [
    path("callback/<plugchat_secret:digest>/", callback, name="callback"),
    # A redirect to the slash would lose the POST.
    path("callback/<plugchat_secret:digest>", callback),
    # Nothing below callback/ is left to APPEND_SLASH, to a project's 404 page or to its log.
    re_path(r"\Acallback(?:/[\s\S]*)?\Z", callback),
]
