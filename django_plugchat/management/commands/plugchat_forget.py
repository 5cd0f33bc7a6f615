import sys
from collections import Counter, defaultdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_plugchat.conf import app_settings
from django_plugchat.management.progress import progress
from django_plugchat.models import DeliveryEvent, RejectedCallback
from django_plugchat.phones.numbers import mask_phone
from django_plugchat.upkeep import erasure, spooled

_MOST_NAMED = 20
_SPOOL = "spool"


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
        parser.add_argument(
            "phone",
            nargs="+",
            metavar="PHONE",
            help=_(
                "The full international number, in any notation, or a privacy id (…@lid); - reads it from standard "
                "input, which keeps it out of the shell's history."
            ),
        )
        parser.add_argument(
            "--national",
            action="store_true",
            help=_(
                "Also what may be somebody else's: the number without its country, which may be one abroad, or beside "
                "digits that may belong to it. Without this option those rows are counted and named."
            ),
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Say how many, and erase nothing."))

    def handle(self, *, phone: list[str], national: bool, dry_run: bool, **options: Any) -> None:
        try:
            text = sys.stdin.readline() if phone == ["-"] else " ".join(phone)
            person = erasure.Person(text, or_national=national)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.erased: Counter[Any] = Counter()
        self.left: dict[Any, list[Any]] = defaultdict(list)
        self.needed: dict[Any, dict[Any, set[str]]] = defaultdict(dict)
        self.also_called: set[str] = set()
        try:
            self.erase_spooled(person, dry_run=dry_run)
            with progress() as step:
                for found in erasure.search(person):
                    self.erase(found, dry_run=dry_run)
                    step(found.looked_at)
        except KeyboardInterrupt:
            self.stdout.write("\n".join(self.lines(dry_run=dry_run)))
            raise CommandError(_("Interrupted. Run it again for the rest."), returncode=130) from None
        self.stdout.write("\n".join(self.lines(dry_run=dry_run)))
        self.stdout.write(
            _(
                "Out of reach: backups, logs, exported files, what your own code stored, privacy ids (@lid) that no "
                "message here ties to the number, and the number spelled in words or in pictures."
            )
        )
        if self.needed:
            raise CommandError(self.why_needed())

    def erase_spooled(self, person: erasure.Person, *, dry_run: bool) -> None:
        try:
            self.erased[_SPOOL], self.left[_("files of the spool")] = erasure.erase_spooled(person, dry_run=dry_run)
        except OSError as error:
            raise CommandError(
                _("The spool %(folder)s could not be looked through: %(error)s.")
                % {"folder": app_settings.spool_dir, "error": error.strerror}
            ) from None

    def erase(self, found: erasure.Batch, *, dry_run: bool) -> None:
        name = found.model._meta.verbose_name_plural
        done = erasure.erase(found.model, found.to_erase, dry_run=dry_run)
        self.erased[found.model] += done.deleted
        self.left[name] += found.left
        if done.needed:
            self.needed[name] |= done.needed
        self.also_called |= found.also_called

    def lines(self, *, dry_run: bool) -> list[str]:
        events, rejected, spool = (self.erased.pop(what, 0) for what in (DeliveryEvent, RejectedCallback, _SPOOL))
        lines = [
            _("Events: %(count)d") % {"count": events},
            _("Rejected callbacks: %(count)d") % {"count": rejected},
            _("Entries of the admin's history, without the number: %(count)d") % {"count": sum(self.erased.values())},
        ]
        if app_settings.spool_dir:
            lines += [_("Callbacks in the spool: %(count)d") % {"count": spool}, spooled.reach()]
        lines.append(_("That is what would be erased.") if dry_run else _("All that is erased."))
        for name, keys in self.left.items():
            if keys:
                lines.append(
                    ngettext(
                        "Left %(count)d row of “%(model)s” that holds the number without its country, which may be "
                        "somebody else's abroad, or beside other digits: %(keys)s. --national erases it too.",
                        "Left %(count)d rows of “%(model)s” that hold the number without its country, which may be "
                        "somebody else's abroad, or beside other digits: %(keys)s. --national erases them too.",
                        len(keys),
                    )
                    % {"count": len(keys), "model": name, "keys": _named(keys)}
                )
        lines += [also_called(name) for name in sorted(self.also_called)]
        return lines

    def why_needed(self) -> str:
        count = sum(map(len, self.needed.values()))
        rows = "; ".join(
            _("“%(model)s” %(keys)s (needed by %(needed_by)s)")
            % {
                "model": name,
                "keys": _named(sorted(needed)),
                "needed_by": ", ".join(sorted(set().union(*needed.values()))),
            }
            for name, needed in self.needed.items()
        )
        return ngettext(
            "%(count)d row can't be erased, because rows of other tables need it: %(rows)s. Delete those rows, or take "
            "the reference out of them, and run this again.",
            "%(count)d rows can't be erased, because rows of other tables need them: %(rows)s. Delete those rows, or "
            "take the references out of them, and run this again.",
            count,
        ) % {"count": count, "rows": rows}


def also_called(name: str) -> str:
    """What to run next for another number or privacy id of the person, of which no more than this is shown."""
    event = erasure.still_called(name)
    if event is None:
        return _("By the same messages the person is also %(name)s. No other event has that.") % {
            "name": mask_phone(name)
        }
    return _(
        "By the same messages the person is also %(name)s. Event %(event)d has it whole: read it there, and run "
        "plugchat_forget with it as well."
    ) % {"name": mask_phone(name), "event": event}


def _named(keys: list[Any]) -> str:
    return ", ".join(map(str, keys[:_MOST_NAMED])) + (", …" if len(keys) > _MOST_NAMED else "")
