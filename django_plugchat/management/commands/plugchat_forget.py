from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_plugchat import retention
from django_plugchat.management.batches import in_steps
from django_plugchat.models import DeliveryEvent, RejectedCallback


class Command(BaseCommand):
    help = (
        "Erase what is stored about a person (LGPD, art. 18): the events about a phone number, those that mention it "
        "anywhere, and the rejected callbacks that do. Also with and without Brazil's ninth digit, and the groups "
        "whose id begins with the number. Never what only holds it within a longer number."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # Several, so that a number written with spaces is not told to the terminal as an unknown argument.
        parser.add_argument(
            "phone",
            nargs="+",
            metavar="PHONE",
            help="The full international number, in any punctuation; - reads it from standard input, which keeps it "
            "out of the shell's history.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Say how many, and erase nothing.")

    def handle(self, *, phone: list[str], dry_run: bool, **options: Any) -> None:
        number = sys.stdin.readline() if phone == ["-"] else " ".join(phone)
        try:
            forms = retention.forms_of_number(number)
        except ValueError as error:
            raise CommandError(str(error)) from None
        found: dict[Any, int] = {RejectedCallback: 0, DeliveryEvent: 0}
        # Rejected ones first: one that is replayed meanwhile is then found among the events.
        searches = (
            (RejectedCallback, retention.rejected_about(forms)),
            (DeliveryEvent, retention.events_about(forms)),
        )
        try:
            with in_steps(self.stderr, retention.size()) as step:
                for model, batches in searches:
                    for looked_at, pks in batches:
                        found[model] += len(pks) if dry_run else retention.erase(model, pks)
                        step(looked_at)
        except KeyboardInterrupt:
            self._print(found[DeliveryEvent], found[RejectedCallback], dry_run=dry_run)
            raise CommandError(_("Interrupted. Run it again for the rest."), returncode=130) from None
        self._print(found[DeliveryEvent], found[RejectedCallback], dry_run=dry_run)
        self.stdout.write(
            _(
                "Out of reach: backups, logs, exported files, what your own code stored, privacy ids (@lid), and the "
                "number in another notation within a text."
            )
        )

    def _print(self, events: int, rejected: int, *, dry_run: bool) -> None:
        if dry_run:
            lines = (
                ngettext("Would erase %(count)d event.", "Would erase %(count)d events.", events),
                ngettext(
                    "Would erase %(count)d rejected callback.", "Would erase %(count)d rejected callbacks.", rejected
                ),
            )
        else:
            lines = (
                ngettext("Erased %(count)d event.", "Erased %(count)d events.", events),
                ngettext("Erased %(count)d rejected callback.", "Erased %(count)d rejected callbacks.", rejected),
            )
        for line, count in zip(lines, (events, rejected), strict=True):
            self.stdout.write(line % {"count": count})
