import errno
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_noop, ngettext

from django_plugchat.management import simulation
from django_plugchat.registering.addresses import callback_path
from django_plugchat.testing import delivery_callback
from django_plugchat.upkeep import spooled, sweeps
from example_project import demo
from example_project.shop.models import Order
from example_project.shop.sending import tell_customer

TRIED_AGAIN_EVERY = 5  # seconds


class Command(BaseCommand):
    help = gettext_noop(
        "Show the whole way from a callback to its effect on an order: serves the site and posts callbacks to it."
    )
    # Run below: some ask the database, which may not answer.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.description = _(self.help)
        parser.add_argument(
            "--port", type=int, default=8000, help=_("Where to serve; 0 takes a free one. Default: 8000")
        )
        parser.add_argument("--once", action="store_true", help=_("Stop when everything is shown."))

    def handle(self, *, port: int, once: bool, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                _("The demo creates a user whose password everybody knows: it runs with DJANGO_DEBUG on only.")
            )
        with ExitStack() as stack:
            try:
                url = stack.enter_context(demo.serving(port))
            except (OSError, OverflowError) as error:
                raise CommandError(self._about_port(port, error)) from error
            stack.enter_context(demo.calling_courier())
            try:
                self._show(url)
                self._invite(url, once=once)
                while not once:
                    time.sleep(TRIED_AGAIN_EVERY)
                    self._try_again()
            except KeyboardInterrupt:
                self.stdout.write("")

    def _about_port(self, port: int, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return _("Something else uses port %(port)d. Take another: python manage.py demo --port %(other)d") % {
                "port": port,
                "other": port + 1,
            }
        return _("Can't serve on port %(port)d: %(error)s. Take another: python manage.py demo --port 8000") % {
            "port": port,
            "error": error,
        }

    def _show(self, url: str) -> None:
        try:
            self.check()
            call_command("migrate", verbosity=0, interactive=False)
        except OperationalError as error:
            raise CommandError(
                _("The database does not answer (%(database)s). Does it run, and does DATABASE_URL name it?")
                % {"database": connection.display_name}
            ) from error
        demo.create_admin()
        orders, started = demo.place_orders(), timezone.now()
        post = partial(self._post, url)
        self._tell_one(orders[1], post)
        self._tell_others(orders, post)
        self.stdout.write(f"\n{demo.table(demo.message_rows(started))}\n\n")
        self.stdout.write(_("What example_project/shop/receivers.py made of them:"))
        self.stdout.write(f"\n{demo.table(demo.order_rows(orders))}\n\n")
        if connection.vendor == "sqlite":  # pragma: no branch - its tests run on SQLite
            self._lock_the_database(post)
        self._print([(label, url + path) for label, path in demo.places(orders[1], orders[-2])])
        self.stdout.write("")

    def _post(self, url: str, *callbacks: dict[str, Any], path: str | None = "", refused: bool = False) -> list[str]:
        target = simulation.target(f"{url}{path}", "default")
        answers = list(simulation.post_all(target, callbacks))
        for answer in answers:
            if answer not in simulation.TAKEN and not refused:
                raise CommandError(simulation.advice(answer, target))
        return answers

    def _tell_one(self, order: Order, post: Callable[..., list[str]]) -> None:
        tell_customer(order)
        rows = [(_("What comes"), _("Answer"), _("The order"))]
        for what, callback in demo.story(order):
            (answer,) = post(callback)
            order.refresh_from_db()
            rows.append((what, answer, demo.whatsapp(order)))
        self.stdout.write(
            _("%(customer)s is told by WhatsApp about the order %(order)s. Its message has the messageId %(id)s.")
            % {"customer": order.customer, "order": order.reference, "id": f"{order.message_id[:8]}…"}
        )
        self.stdout.write(f"\n{demo.table(rows)}\n\n")

    def _tell_others(self, orders: list[Order], post: Callable[..., list[str]]) -> None:
        answers = Counter(post(*demo.others(orders)))
        demo.make_it_yesterdays(orders[-2])
        with demo.quietly():
            answers.update(post(demo.UNUSABLE, refused=True))
            answers.update(post(delivery_callback(customId=demo.COURIER)))
        answers.update(post(*simulation.callbacks(3), path=callback_path(demo.branch_secret())))
        self.stdout.write(
            _("Posted %(posted)d more callbacks, PlugChat's own example first. Answers: %(answers)s.")
            % {
                "posted": answers.total(),
                "answers": ", ".join(f"{times} {answer}" for answer, times in answers.most_common()),
            }
        )

    def _lock_the_database(self, post: Callable[..., list[str]]) -> None:
        self.stdout.write(_("Another program locks the database for ten seconds, and callbacks come:"))
        with demo.quietly(), demo.locked_database():
            answers = post(*(delivery_callback() for _number in range(3)))
        taken = spooled.drain()
        sweeps.sweep()
        self.stdout.write(
            _("answered %(answer)s, in a folder beside the server; when the database was free, %(count)d were stored.")
            % {"answer": "/".join(sorted(set(answers))), "count": taken}
        )
        self.stdout.write("")

    def _try_again(self) -> None:
        """What ``plugchat_redispatch`` does each minute, without waiting for the pause after a failure."""
        with demo.quietly():
            done = sweeps.sweep(now=True).done
        if done:
            self.stdout.write(
                ngettext(
                    "A receiver had failed: %(count)d event was told again, and taken.",
                    "A receiver had failed: %(count)d events were told again, and taken.",
                    done,
                )
                % {"count": done}
            )

    def _invite(self, url: str, *, once: bool) -> None:
        if once:
            self.stdout.write(_("Without --once this is served until Ctrl-C:"))
        password = demo.PASSWORD if demo.has_known_password() else _("(the one it was changed to)")
        self._print(
            [(_("Admin:"), url + reverse("admin:index")), (_("User:"), demo.USERNAME), (_("Password:"), password)]
        )
        if not once:
            self.stdout.write(_("Ctrl-C stops the server."))

    def _print(self, lines: list[tuple[str, str]]) -> None:
        width = max(len(label) for label, _value in lines)
        for label, value in lines:
            self.stdout.write(f"{label:{width}} {value}")
