from argparse import ArgumentParser
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat.management import simulation
from django_plugchat.management.progress import progress


class Command(BaseCommand):
    help = gettext_noop("Post callbacks like the provider's to a running server, and print a tally of its answers.")
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.description = _(self.help)
        text = _("Where the server is; with a path it is posted to as it is. Default: %(default)s")
        parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000", help=text)
        statuses = _("How many of the callbacks say that a message was sent, received or read. Default: 0")
        for option, kind, default, metavar, text in (
            ("--count", int, 100, "N", _("Callbacks to post. Default: 100")),
            ("--failures", float, 10, "PERCENT", _("How many of the messages were not sent. Default: 10")),
            ("--duplicates", float, 10, "PERCENT", _("How many of the callbacks repeat an earlier one. Default: 10")),
            ("--statuses", float, 0, "PERCENT", statuses),
            ("--concurrency", int, 4, "N", _("Connections to post on at once. Default: 4")),
            ("--account", str, "default", "NAME", _("Whose callbacks they are. Default: default")),
        ):
            parser.add_argument(option, type=kind, default=default, metavar=metavar, help=text)

    def handle(self, *, url: str, account: str, count: int, concurrency: int, **options: Any) -> None:
        percents = {name: options[name] for name in ("failures", "duplicates", "statuses")}
        if count < 1 or concurrency < 1:
            raise CommandError(_("--count and --concurrency must be at least 1."))
        if not all(0 <= percent <= 100 for percent in percents.values()):
            raise CommandError(_("--failures, --duplicates and --statuses are percentages: 0 to 100."))
        try:
            target = simulation.target(url, account)
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        callbacks = simulation.callbacks(count, **percents)
        answers = simulation.post_all(target, callbacks, concurrency=min(concurrency, count))
        tally = Counter(progress(answers, count))
        text = _("Callbacks posted to %(origin)s: %(count)d. Answers:")
        # Without the path, which holds the secret, and without a password.
        origin = urlsplit(target).netloc.rpartition("@")[2]
        self.stdout.write(text % {"count": tally.total(), "origin": origin})
        for answer, times in tally.most_common():
            self.stdout.write(f"  {answer:<15}  {times:>6}")
        unexpected = [answer for answer, _times in tally.most_common() if answer not in simulation.TAKEN]
        if unexpected:
            raise CommandError(simulation.advice(unexpected[0], target))
