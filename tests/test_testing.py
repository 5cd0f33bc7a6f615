import re
import time
import uuid
from contextlib import contextmanager

import pytest
from django import urls
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import Client
from rest_framework.test import APIClient

from django_plugchat.models import DeliveryEvent
from django_plugchat.signals import TellAgain
from django_plugchat.testing import callback_path, delivery_callback, message_status_callback, post_callback

from . import payloads
from .payloads import SECRET
from .receivers import Receiver, connected

committed_or_not = pytest.mark.parametrize(
    "is_committed",
    [
        pytest.param(False, marks=pytest.mark.django_db),
        pytest.param(True, marks=pytest.mark.django_db(transaction=True)),
    ],
)


@contextmanager
def listening(*args):
    receiver = Receiver(*args)
    with connected(receiver):
        yield receiver


def test_a_callback_looks_like_the_providers():
    before = time.time_ns() // 1_000_000
    callback = delivery_callback()
    assert re.fullmatch(r"55[1-9][1-9]9[0-9]{8}", callback["phone"])
    assert re.fullmatch(r"[0-9A-F]{32}", callback["zaapId"])
    assert re.fullmatch(r"[0-9A-F]{32}", callback["messageId"])
    assert callback["type"] == "DeliveryCallback"
    assert before <= callback["momment"] <= time.time_ns() // 1_000_000
    assert callback.keys() == payloads.LIVE_SUCCESS.keys()


def test_a_status_looks_like_the_providers():
    callback = message_status_callback()
    assert callback.keys() == payloads.STATUS.keys()
    assert (callback["type"], callback["status"]) == ("MessageStatusCallback", "READ")
    (message_id,) = callback["ids"]
    assert re.fullmatch(r"[0-9A-F]{32}", message_id)


@pytest.mark.parametrize("make", [delivery_callback, message_status_callback])
def test_every_callback_is_about_another_message(make):
    assert len({str(callback.get("ids", callback.get("messageId"))) for callback in (make() for _ in range(50))}) == 50


def test_overrides_are_the_providers_keys():
    callback = delivery_callback(phone="1-group", customId="123", somethingNew=[1])
    assert (callback["phone"], callback["customId"], callback["somethingNew"]) == ("1-group", "123", [1])
    callback = message_status_callback(status="RECEIVED", ids=["1"], participant="2")
    assert (callback["status"], callback["ids"], callback["participant"]) == ("RECEIVED", ["1"], "2")


@pytest.mark.parametrize(
    "make",
    [delivery_callback, message_status_callback, post_callback, lambda **overrides: post_callback({}, **overrides)],
)
def test_a_field_of_the_model_is_no_key_of_the_provider(make):
    with pytest.raises(TypeError, match=r"'custom_id'.*customId"):
        make(custom_id="1")


@pytest.mark.django_db
def test_posting_stores_what_was_posted():
    callback = delivery_callback(customId="123")
    response = post_callback(callback)
    assert (response.status_code, response.json()) == (200, {"status": "recorded"})
    event = DeliveryEvent.objects.get()
    assert event.payload == callback
    assert event.account == "default"
    assert event.outcome == "sent"
    assert event.occurred_at.timestamp() * 1000 == pytest.approx(callback["momment"])


@pytest.mark.django_db
def test_receivers_hear_of_each_message_of_a_status():
    with listening() as receiver:
        post_callback(message_status_callback(ids=["1", "2"], status="RECEIVED"))
    assert {(event.message_id, event.outcome) for event in receiver.heard} == {("1", "received"), ("2", "received")}
    assert set(DeliveryEvent.objects.values_list("dispatch_status", flat=True)) == {"done"}


@pytest.mark.django_db
def test_overrides_change_a_given_callback_and_not_the_callers_copy():
    callback = delivery_callback()
    post_callback(callback, customId="123")
    assert DeliveryEvent.objects.get().payload == {**callback, "customId": "123"}
    assert "customId" not in callback


@pytest.mark.django_db
def test_a_key_may_be_taken_out():
    callback = delivery_callback()
    del callback["phone"]
    assert post_callback(callback).status_code == 400


@pytest.mark.django_db
def test_a_uuid_is_a_custom_id():
    order = uuid.uuid4()
    post_callback(customId=order)
    assert DeliveryEvent.objects.get().custom_id == str(order)


@pytest.mark.django_db
def test_again_is_a_duplicate():
    callback = delivery_callback()
    with listening() as receiver:
        post_callback(callback)
        assert post_callback(callback).json() == {"status": "duplicate"}
    assert len(receiver.heard) == 1


@pytest.mark.django_db
def test_another_account():
    post_callback(account="norte")
    assert DeliveryEvent.objects.get().account == "norte"


@committed_or_not
def test_receivers_run_once_whether_or_not_anything_is_committed(is_committed):
    assert connection.in_atomic_block is not is_committed
    with listening() as receiver:
        post_callback(customId="123")
        assert [event.custom_id for event in receiver.heard] == ["123"]
    assert DeliveryEvent.objects.get().dispatch_status == "done"


@pytest.mark.django_db(transaction=True)
def test_receivers_run_once_inside_a_transaction_of_the_test():
    with listening() as receiver:
        with transaction.atomic():
            post_callback(customId="123")
            assert len(receiver.heard) == 1
        assert len(receiver.heard) == 1


@pytest.mark.parametrize("error", [LookupError("no such order"), TellAgain()])
@committed_or_not
def test_a_receivers_exception_is_raised_when_asked_for(is_committed, error):
    assert connection.in_atomic_block is not is_committed
    with listening(error) as receiver:
        assert post_callback().json() == {"status": "recorded"}
        with pytest.raises(type(error)) as raised:
            post_callback(raise_receiver_exceptions=True)
        assert raised.value is error
        receiver.raises = None
        assert post_callback(raise_receiver_exceptions=True).json() == {"status": "recorded"}
    assert list(DeliveryEvent.objects.order_by("pk").values_list("dispatch_status", flat=True)) == [
        "retrying",
        "retrying",
        "done",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("client_class", [Client, APIClient])
def test_a_client_of_ones_own(client_class):
    assert post_callback(client=client_class(enforce_csrf_checks=True)).json() == {"status": "recorded"}


@pytest.mark.django_db
def test_a_site_that_redirects_to_https(settings):
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
    settings.SECURE_SSL_REDIRECT = True
    assert post_callback().json() == {"status": "recorded"}


class OfTenant:
    urlpatterns = [urls.path("loja/", urls.include("django_plugchat.urls"))]


@pytest.mark.django_db
def test_a_callback_in_a_urlconf_of_a_host_or_tenant(settings):
    settings.ROOT_URLCONF = OfTenant
    assert post_callback(path=f"/loja/callback/{SECRET}/").json() == {"status": "recorded"}


def test_the_path_has_the_first_secret():
    assert callback_path() == f"/plugchat/callback/{SECRET}/"


@pytest.mark.parametrize("accounts", [{}, {"norte": {"WEBHOOK_SECRETS": [SECRET]}}, {"loja": {"WEBHOOK_SECRETS": []}}])
def test_a_missing_account_or_secret_is_named(plugchat, accounts):
    plugchat(ACCOUNTS=accounts)
    with pytest.raises(ImproperlyConfigured, match="no account 'loja' with WEBHOOK_SECRETS"):
        post_callback(account="loja")


@pytest.mark.parametrize(
    ("urlconf", "secret"),
    [("django.contrib.auth.urls", SECRET), ("tests.urls", "a/slash-in-it-that-no-url-takes")],
)
def test_missing_urls_are_said_without_the_secret(settings, plugchat, urlconf, secret):
    settings.ROOT_URLCONF = urlconf
    plugchat(ACCOUNTS={"default": {"WEBHOOK_SECRETS": [secret]}})
    with pytest.raises(ImproperlyConfigured, match=r'include\("django_plugchat\.urls"\)') as raised:
        post_callback()
    assert secret not in str(raised.value)
