import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat.management.deleting import EVENTS, HISTORY, REJECTED, SPOOLED, counting
from django_plugchat.management.progress import progress
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones.mentions import Person
from django_plugchat.phones.numbers import mask_phone
from django_plugchat.upkeep import erasure

_MOST_NAMED = 20


class Command(BaseCommand):
    help = gettext_noop(
        "Erase what is stored about a person (LGPD, art. 18): the events about a phone number or privacy id (…@lid), "
        "all others of the same messages, those that mention it anywhere, the rejected callbacks and the callbacks in "
        "this host's spool that do, and the number in the admin's history of them. In every international notation, "
        "with and without Brazil's ninth digit, and the groups whose id begins with the number. Never what only holds "
        "it within a longer number or id."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        # Several, so that a number written with spaces is not told to the terminal as an unknown argument.
        text = _("The full international number, or a privacy id (…@lid); - reads it from standard input.")
        parser.add_argument("phone", nargs="+", metavar="PHONE", help=text)
        text = _("Also rows with the number without its country, or beside other digits: they may be somebody else's.")
        parser.add_argument("--national", action="store_true", help=text)
        parser.add_argument("--dry-run", action="store_true", help=_("Say how many, and erase nothing."))

    def handle(self, *, phone: list[str], national: bool, dry_run: bool, **options: Any) -> None:
        try:
            text = sys.stdin.readline() if phone == ["-"] else " ".join(phone)
            person = Person(text, or_national=national)
        except ValueError as error:
            raise CommandError(str(error)) from None
        also_called, needed_by = set[str](), set[str]()
        #: The keys of rows, by what people call these.
        left, needed = defaultdict[Any, list[Any]](list), defaultdict[Any, list[Any]](list)
        texts = {DeliveryEvent: EVENTS, RejectedCallback: REJECTED}
        try:
            with counting(self.stdout, EVENTS, REJECTED, HISTORY, dry_run=dry_run) as counts:
                counts[SPOOLED], left[_("files of the spool")] = erasure.erase_spooled(person, dry_run=dry_run)
                for found in progress(erasure.erase(person, dry_run=dry_run)):
                    name = found.model._meta.verbose_name_plural
                    counts[texts.get(found.model, HISTORY)] += found.done.deleted
                    left[name] += found.left
                    needed[name] += found.done.needed
                    needed_by = needed_by.union(*found.done.needed.values())
                    also_called |= found.also_called
        finally:
            for line in _left(left, also_called):
                self.stdout.write(line)
        text = _(
            "Out of reach: backups, logs, exported files, what your own code stored, privacy ids (@lid) that no "
            "message here ties to the number, and the number spelled in words or in pictures."
        )
        self.stdout.write(text)
        if needed_by:
            rows = "; ".join(f"“{name}” {_named(sorted(keys))}" for name, keys in needed.items() if keys)
            text = _(
                "Not erased, because rows of other tables (%(needed_by)s) need them: %(rows)s. Delete those rows, or "
                "take the references out of them, and run this again."
            )
            raise CommandError(text % {"needed_by": ", ".join(sorted(needed_by)), "rows": rows})


def _left(left: dict[Any, list[Any]], also_called: set[str]) -> Iterator[str]:
    """What is to be looked at, and run next."""
    text = _(
        "“%(model)s” left: %(count)d, with the number without its country, which may be somebody else's abroad, or "
        "beside other digits: %(keys)s. --national erases them too."
    )
    for name, keys in left.items():
        if keys:
            yield text % {"model": name, "count": len(keys), "keys": _named(keys)}
    for name in sorted(also_called):
        event = erasure.still_called(name)
        text = _("By the same messages the person is also %(name)s. No other event has that.")
        if event:
            text = _(
                "By the same messages the person is also %(name)s. Event %(event)d has it whole: read it there, and "
                "run plugchat_forget with it as well."
            )
        yield text % {"name": mask_phone(name), "event": event}


def _named(keys: list[Any]) -> str:
    return ", ".join(map(str, keys[:_MOST_NAMED])) + (", …" if len(keys) > _MOST_NAMED else "")
