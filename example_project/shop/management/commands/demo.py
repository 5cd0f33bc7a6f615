from __future__ import annotations

import errno
import threading
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_plugchat import simulation
from example_project import demo


class Command(BaseCommand):
    help = "Show the whole way from a callback to its effect on an order: serves the site and posts callbacks to it."
    # Run below: some ask the database, which may not answer.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Where to serve; 0 takes a free one. Default: 8000")
        parser.add_argument("--once", action="store_true", help="Stop when everything is shown.")

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
            try:
                self._show(url)
                self._invite(url, once=once)
                if not once:
                    threading.Event().wait()
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
        orders = demo.place_orders()
        started = timezone.now()
        answers = list(simulation.post_all(simulation.target(url, "default"), demo.callbacks_about(orders)))
        for answer in answers:
            if answer not in (simulation.RECORDED, simulation.DUPLICATE):
                raise CommandError(f"{answer}: {simulation.advice(answer)}")

        self.stdout.write(
            _("Posted %(posted)d callbacks, the provider's own example first: %(recorded)d new, %(duplicate)d known.")
            % {
                "posted": len(answers),
                "recorded": answers.count(simulation.RECORDED),
                "duplicate": answers.count(simulation.DUPLICATE),
            }
        )
        self.stdout.write(f"\n{demo.table(demo.event_rows(started))}\n\n")
        self.stdout.write(_("What example_project/shop/receivers.py made of them:"))
        self.stdout.write(f"\n{demo.table(demo.order_rows(orders))}\n\n")

    def _invite(self, url: str, *, once: bool) -> None:
        if once:
            self.stdout.write(_("Without --once this is served until Ctrl-C:"))
        password = demo.PASSWORD if demo.has_known_password() else _("(the one it was changed to)")
        for label, value in (
            (_("Admin:"), url + reverse("admin:index")),
            (_("User:"), demo.USERNAME),
            (_("Password:"), password),
        ):
            self.stdout.write(f"{label:10} {value}")
        if not once:
            self.stdout.write(_("Ctrl-C stops the server."))
