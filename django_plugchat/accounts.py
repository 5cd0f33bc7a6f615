"""Whose secret is this?"""

from __future__ import annotations

from django_plugchat.conf import Caller, app_settings


def caller(digest: str) -> Caller | None:
    return app_settings.index.callers.get(digest)
