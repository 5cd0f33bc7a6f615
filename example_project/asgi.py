import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
# Requests run in ever new threads there: connections that are kept would pile up.
os.environ.setdefault("DJANGO_CONN_MAX_AGE", "0")

application = get_asgi_application()
