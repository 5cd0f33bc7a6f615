"""Django's error mails about a callback, as about what a project's own code raises: nothing private in any frame."""

import logging
from typing import Any

import django
import pytest
from django.core import mail
from django.db import OperationalError, connection
from django.db.models.signals import post_save, pre_save
from django.test import Client
from django.utils.log import AdminEmailHandler

from django_plugchat import recording
from django_plugchat.redaction import MASK

from .databases import Interrupt, raising
from .payloads import EXAMPLE, LIVE_ERROR, SECRET, STATUS_OF_TWO, URL

pytestmark = pytest.mark.django_db

CREDENTIAL = "token-of-an-instance-in-a-header"
PRIVATE = [SECRET, CREDENTIAL, EXAMPLE["phone"], EXAMPLE["zaapId"], LIVE_ERROR["phone"], *STATUS_OF_TWO["ids"]]


@pytest.fixture
def html_mails(settings):
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6,) else [("Admin", "admin@example.com")]
    handler = AdminEmailHandler(include_html=True)
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    yield mail.outbox
    logger.removeHandler(handler)


def fail_in_a_listener(monkeypatch: Any) -> None:
    monkeypatch.setattr(pre_save, "send", raising(ZeroDivisionError()))
    post_save.connect(stumble, dispatch_uid="stumble")


def stumble(sender: Any, **kwargs: Any) -> None:
    """Something of a project's listens, so that rows are saved one by one."""


def fail_in_a_router(monkeypatch: Any) -> None:
    monkeypatch.setattr(recording.router, "db_for_write", raising(ZeroDivisionError()))


def fail_in_the_dispatch(monkeypatch: Any) -> None:
    monkeypatch.setattr(recording.dispatch, "has_receivers", raising(ZeroDivisionError()))


def told_in(mails: Any) -> str:
    """All that the mails say, without anything private."""
    told = " ".join(f"{message.subject} {message.body} {message.alternatives}" for message in mails)
    assert not [text for text in PRIVATE if text in told]
    return told


@pytest.mark.parametrize("fail", [fail_in_a_listener, fail_in_a_router, fail_in_the_dispatch])
@pytest.mark.parametrize("body", [EXAMPLE, LIVE_ERROR, STATUS_OF_TWO], ids=["delivery", "failed", "status"])
def test_nothing_private_is_in_an_error_mail(html_mails, monkeypatch, fail, body):
    fail(monkeypatch)
    try:
        response = Client(raise_request_exception=False).post(URL, body, content_type="application/json")
    finally:
        post_save.disconnect(dispatch_uid="stumble")
    assert response.status_code == 500
    assert "ZeroDivisionError" in told_in(html_mails)


def test_a_database_that_fails(html_mails, post):
    with connection.execute_wrapper(Interrupt("INSERT", raising(OperationalError()), times=9)):
        assert post(EXAMPLE, headers={"z-api-token": CREDENTIAL}).status_code == 503
    assert f"/plugchat/callback/{MASK}/" in told_in(html_mails)


class RaisingMiddleware:
    def __init__(self, get_response: Any) -> None: ...

    def __call__(self, request: Any) -> Any:
        raise ValueError


def test_what_middleware_raised_before_the_view(html_mails, settings):
    settings.MIDDLEWARE = [f"{__name__}.RaisingMiddleware"]
    client = Client(raise_request_exception=False, headers={"z-api-token": CREDENTIAL})
    assert client.post(URL).status_code == 500
    told = told_in(html_mails)
    assert "ValueError" in told
    assert MASK in told
