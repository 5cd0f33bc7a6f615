"""People with some permissions and no others, and what they read."""

import html
import re
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

EVENTS = "/admin/django_plugchat/deliveryevent/"
REJECTED = "/admin/django_plugchat/rejectedcallback/"
OVERVIEW = "/admin/django_plugchat/connection/"


def person(*permissions: str, **fields: Any) -> Client:
    """A client of somebody of the staff who has these permissions."""
    user = User.objects.create_user(f"person-{User.objects.count()}", is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    """What a person reads."""
    text = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def select(client: Client, url: str, action: str, *rows: Any, **data: Any) -> Any:
    """Choose an action for some rows of a list."""
    return client.post(url, {"action": action, "_selected_action": [row.pk for row in rows], **data}, follow=True)


def submit(client: Client, response: Any, url: str) -> Any:
    """Press the button of a page that asks whether to go on."""
    fields: dict[str, list[str]] = {}
    for field in re.findall(r"<input[^>]*>", response.content.decode()):
        name, value = re.search(r'name="([^"]*)"', field), re.search(r'value="([^"]*)"', field)
        if name and value:
            fields.setdefault(html.unescape(name[1]), []).append(html.unescape(value[1]))
    return client.post(url, fields, follow=True)
