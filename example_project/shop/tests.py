# ruff: noqa: S101
from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse

from django_plugchat.models import DeliveryEvent
from django_plugchat.testing import delivery_callback, post_callback
from example_project.shop.models import Order


class MarkOrderTests(TestCase):
    def setUp(self) -> None:
        self.order = Order.objects.create(reference="PED-1", customer="Ana Souza")
        self.other = Order.objects.create(reference="PED-2", customer="Bruno Lima")

    def assert_state(self, state: str, reason: str = "") -> None:
        self.order.refresh_from_db()
        assert (self.order.state, self.order.reason) == (state, reason)

    def test_an_order_is_told(self) -> None:
        response = post_callback(customId="PED-1")
        assert response.json() == {"status": "recorded"}
        self.assert_state("told")
        assert DeliveryEvent.objects.get().dispatch_status == "done"

    def test_other_orders_are_left_alone(self) -> None:
        post_callback(customId="PED-1")
        self.other.refresh_from_db()
        assert self.other.state == "waiting"

    def test_a_failure_is_kept_with_its_reason(self) -> None:
        post_callback(customId="PED-1", error="Phone number does not exist")
        self.assert_state("failed", "Phone number does not exist")

    def test_a_failure_may_have_a_code_only(self) -> None:
        post_callback(customId="PED-1", errorCode="SHADOW_BAN")
        self.assert_state("failed", "SHADOW_BAN")

    def test_a_message_that_is_about_no_order(self) -> None:
        post_callback()
        post_callback(customId="PED-3")
        assert Order.objects.filter(state="waiting").count() == 2

    def test_a_second_message_tells_after_all(self) -> None:
        post_callback(customId="PED-1", error="Timeout on send message")
        post_callback(customId="PED-1")
        self.assert_state("told")

    def test_a_failure_that_comes_late_changes_nothing(self) -> None:
        post_callback(customId="PED-1")
        post_callback(customId="PED-1", error="Timeout on send message")
        self.assert_state("told")

    def test_the_first_reason_stays(self) -> None:
        post_callback(customId="PED-1", error="Timeout on send message")
        post_callback(customId="PED-1", error="Phone number does not exist")
        self.assert_state("failed", "Timeout on send message")

    def test_the_same_callback_again(self) -> None:
        callback = delivery_callback(customId="PED-1", error="Timeout on send message")
        post_callback(callback)
        assert post_callback(callback).json() == {"status": "duplicate"}
        self.assert_state("failed", "Timeout on send message")


class SiteTests(TestCase):
    def setUp(self) -> None:
        self.client.force_login(get_user_model()._default_manager.create_superuser("admin"))
        Order.objects.create(reference="PED-1", customer="Ana Souza")

    def test_the_root_leads_to_the_admin(self) -> None:
        self.assertRedirects(self.client.get("/"), "/admin/")

    def test_orders_are_in_the_admin(self) -> None:
        response = self.client.get(reverse("admin:shop_order_changelist"), {"q": "PED-1"})
        self.assertContains(response, "Ana Souza")
        self.assertContains(self.client.get(reverse("admin:index")), "Shop")

    def test_in_portuguese(self) -> None:
        response = self.client.get(reverse("admin:index"), headers={"Accept-Language": "pt-br"})
        self.assertContains(response, 'lang="pt-br"')
        self.assertContains(response, "Pedidos")
