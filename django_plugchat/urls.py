from django.urls import path, re_path

from django_plugchat.views import callback, unlisted_callback

app_name = "plugchat"

urlpatterns = [
    path("callback/<str:secret>/", callback, name="callback"),
    # A redirect to the slash would lose the POST.
    path("callback/<str:secret>", unlisted_callback),
    # Nothing below callback/ is left to APPEND_SLASH, to a project's 404 page or to its log.
    re_path(r"\Acallback(?:/[\s\S]*)?\Z", unlisted_callback),
]
