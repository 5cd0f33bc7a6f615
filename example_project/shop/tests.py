# ruff: noqa: S101
from datetime import timedelta
from typing import Any
from unittest import mock

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from django_plugchat.models import DeliveryEvent
from django_plugchat.testing import delivery_callback, message_status_callback, post_callback
from django_plugchat.upkeep import sweeps
from example_project.shop import sending, undelivered
from example_project.shop.models import Order
from example_project.shop.receivers import LONGEST_SEND, mark_order

ANSWER = {"zaapId": "3E50A454522970E8FF33FA2035A79316", "messageId": "3EB0EE5C811ACA0277C307"}


class MarkOrderTests(TestCase):
    def setUp(self) -> None:
        self.order = Order.objects.create(reference="PED-1", customer="Ana Souza", phone="5544999999999")
        self.other = Order.objects.create(reference="PED-2", customer="Bruno Lima", phone="5544988888888")
        sending.tell_customer(self.order)

    def delivery(self, **overrides: Any) -> dict[str, Any]:
        return delivery_callback(zaapId=self.order.zaap_id, messageId=self.order.message_id, **overrides)

    def status(self, status: str) -> dict[str, Any]:
        return message_status_callback(status=status, ids=[self.order.message_id])

    def assert_told(self, whatsapp: str, problem: str = "") -> None:
        self.order.refresh_from_db()
        assert (self.order.whatsapp, self.order.problem) == (whatsapp, problem)

    def test_an_order_whose_message_is_read(self) -> None:
        assert post_callback(self.delivery()).json() == {"status": "recorded"}
        self.assert_told("sent")
        post_callback(self.status("SENT"))
        self.assert_told("sent")
        post_callback(self.status("RECEIVED"))
        self.assert_told("received")
        post_callback(self.status("READ"))
        self.assert_told("read")
        post_callback(self.status("PLAYED"))
        self.assert_told("played")
        assert set(DeliveryEvent.objects.values_list("dispatch_status", flat=True)) == {"done"}

    def test_callbacks_in_another_order(self) -> None:
        post_callback(self.status("READ"))
        post_callback(self.status("RECEIVED"))
        post_callback(self.delivery())
        self.assert_told("read")

    def test_a_failure_is_kept_with_its_reason(self) -> None:
        post_callback(self.delivery(error="Phone number does not exist"))
        self.assert_told("failed", "number")

    def test_a_failure_may_have_a_code_only(self) -> None:
        post_callback(self.delivery(errorCode="SHADOW_BAN"))
        self.assert_told("failed", "restricted")

    def test_a_message_that_was_received_after_all(self) -> None:
        post_callback(self.delivery(error="Timeout on send message"))
        post_callback(self.status("RECEIVED"))
        self.assert_told("received")

    def test_the_same_callback_again(self) -> None:
        callback = self.delivery(error="Timeout on send message")
        post_callback(callback)
        assert post_callback(callback).json() == {"status": "duplicate"}
        self.assert_told("failed", "temporary")

    def test_a_message_that_is_sent_again(self) -> None:
        first = self.delivery(error="Timeout on send message")
        sending.tell_customer(self.order)
        post_callback(self.delivery())
        post_callback(first)
        self.assert_told("sent")

    def test_blank_ids_are_of_no_order(self) -> None:
        """Neither of those without a customId, nor of those whose message has not been sent."""
        post_callback(messageId="", customId="")
        post_callback(message_status_callback())
        assert Order.objects.filter(whatsapp="").count() == 2

    def test_a_message_that_is_about_no_order(self) -> None:
        post_callback()
        assert Order.objects.filter(whatsapp="").count() == 2
        assert set(DeliveryEvent.objects.values_list("dispatch_status", flat=True)) == {"done"}

    def test_an_outcome_of_a_later_version(self) -> None:
        post_callback(self.delivery())
        event = DeliveryEvent.objects.get()
        event.outcome = "answered"
        mark_order(event=event)
        self.assert_told("sent")


class EarlyCallbackTests(TestCase):
    """A callback may come before the answer to the send request is saved."""

    def setUp(self) -> None:
        self.order = Order.objects.create(reference="PED-1", customer="Ana Souza", phone="5544999999999")

    def tell_customer(self, *callbacks: dict[str, Any]) -> None:
        """The callbacks come while PlugChat still answers."""

        def send_text(phone: str, message: str) -> dict[str, str]:
            for callback in callbacks:
                post_callback(callback)
            return ANSWER

        with mock.patch.object(sending, "send_text", send_text):
            sending.tell_customer(self.order)

    def whatsapp(self) -> str:
        self.order.refresh_from_db()
        return self.order.whatsapp

    def test_the_order_ends_right_in_both_orders(self) -> None:
        delivery, status = delivery_callback(**ANSWER), message_status_callback(ids=[ANSWER["messageId"]])
        for early, late in (([delivery], [status]), ([status], [delivery]), ([delivery, status], []), ([], [status])):
            with self.subTest(early=len(early), late=len(late)):
                DeliveryEvent.objects.all().delete()
                self.tell_customer(*early)
                assert self.whatsapp() == ""
                assert DeliveryEvent.objects.filter(dispatch_status="retrying").count() == len(early)
                for callback in late:
                    post_callback(callback)
                # As plugchat_redispatch does a minute later.
                sweeps.sweep(now=True)
                assert self.whatsapp() == "read"
                assert not DeliveryEvent.objects.exclude(dispatch_status="done").exists()

    def test_an_attendants_message_is_told_again_once_at_most(self) -> None:
        """While an order's message is being sent, nobody knows whose the callback is."""
        self.tell_customer(delivery_callback())
        assert DeliveryEvent.objects.get().dispatch_status == "retrying"
        # A minute later nothing that was being sent then is young any more.
        Order.objects.create(reference="PED-2", sending_since=timezone.now() - LONGEST_SEND)
        sweeps.sweep(now=True)
        assert DeliveryEvent.objects.get().dispatch_status == "done"

    def test_nothing_is_told_again_when_no_message_is_being_sent(self) -> None:
        for since in (None, timezone.now() - LONGEST_SEND, timezone.now() + timedelta(hours=1)):
            Order.objects.update(sending_since=since)
            post_callback()
        assert set(DeliveryEvent.objects.values_list("dispatch_status", flat=True)) == {"done"}


class SiteTests(TestCase):
    def setUp(self) -> None:
        self.client.force_login(get_user_model()._default_manager.create_superuser("admin"))
        Order.objects.create(reference="PED-1", customer="Ana Souza", phone="5544999999999")

    def test_the_root_leads_to_the_admin(self) -> None:
        self.assertRedirects(self.client.get("/"), "/admin/")

    def test_orders_are_in_the_admin(self) -> None:
        response = self.client.get(reverse("admin:shop_order_changelist"), {"q": "PED-1"})
        self.assertContains(response, "Ana Souza")
        self.assertContains(self.client.get(reverse("admin:index")), "Shop")

    def test_an_order_says_what_became_of_its_message(self) -> None:
        order = Order.objects.get()
        sending.tell_customer(order)
        page = reverse("admin:shop_order_change", args=[order.pk])
        self.assertContains(self.client.get(page), "PlugChat has not said anything about this message.")
        for status in ("RECEIVED", "READ"):
            post_callback(message_status_callback(status=status, ids=[order.message_id]))
        response = self.client.get(page)
        self.assertContains(response, '<li class="plugchat-step plugchat-step-read">')
        self.assertNotContains(self.client.get(reverse("admin:shop_order_add")), "What became of its message")

    def test_in_portuguese(self) -> None:
        response = self.client.get(reverse("admin:index"), headers={"Accept-Language": "pt-br"})
        self.assertContains(response, 'lang="pt-br"')
        self.assertContains(response, "Pedidos")


@mock.patch("example_project.shop.undelivered.send_sms")
class UndeliveredTests(TestCase):
    def setUp(self) -> None:
        self.orders = [
            Order.objects.create(reference=f"PED-{number}", phone="5544999999999", sending_since=timezone.now())
            for number in range(3)
        ]
        for order in self.orders:
            order.zaap_id, order.message_id = f"Z{order.pk}", f"M{order.pk}"
            order.save()
            post_callback(delivery_callback(zaapId=order.zaap_id, messageId=order.message_id))
        # Two were sent hours ago, of which one is received.
        received, _lost, _young = self.orders
        hours_ago = timezone.now() - timedelta(hours=3)
        DeliveryEvent.objects.filter(zaap_id__in=[order.zaap_id for order in self.orders[:2]]).update(
            received_at=hours_ago
        )
        post_callback(message_status_callback(status="RECEIVED", ids=[received.message_id]))

    def test_who_received_nothing_gets_one_sms(self, send_sms: mock.Mock) -> None:
        assert undelivered.text_the_undelivered() == [self.orders[1]]
        assert undelivered.text_the_undelivered() == []
        send_sms.assert_called_once()

    def test_nobody_gets_two_of_two_runs_at_once(self, send_sms: mock.Mock) -> None:
        """The other run is quicker with all that come after the first."""
        DeliveryEvent.objects.update(received_at=timezone.now() - timedelta(hours=3))
        send_sms.side_effect = lambda *_sms: Order.objects.update(texted_at=timezone.now())
        assert len(undelivered.text_the_undelivered()) == 1
        send_sms.assert_called_once()

    def test_nobody_gets_one_where_no_status_comes(self, send_sms: mock.Mock) -> None:
        DeliveryEvent.objects.statuses().delete()
        assert undelivered.text_the_undelivered() == []
        send_sms.assert_not_called()

    def test_nobody_gets_one_while_the_instance_is_disconnected(self, send_sms: mock.Mock) -> None:
        post_callback({"type": "DisconnectedCallback", "momment": 1_700_000_000})
        assert undelivered.text_the_undelivered() == []
        post_callback({"type": "ConnectedCallback", "momment": 1_700_000_100})
        assert undelivered.text_the_undelivered() == [self.orders[1]]
        send_sms.assert_called_once()
