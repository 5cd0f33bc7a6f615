from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat import dispatch, spool, times
from django_plugchat.upkeep import spooled, sweeps


class Command(BaseCommand):
    help = gettext_noop(
        "Store what this host kept while the database was away, then hand the events that are due to the dispatcher: "
        "those never tried, those to be tried again, and those whose worker died. Run it every minute, as the user of "
        "the web server; with a SPOOL_DIR on every web host."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("--limit", type=int, metavar="N", help=_("Take at most N events."))
        parser.add_argument("--inline", action="store_true", help=_("Call the receivers in this process at once."))
        parser.add_argument("--now", action="store_true", help=_("Also take what waits after a failed attempt."))
        parser.add_argument(
            "--include-none", action="store_true", help=_("Also take what was stored without a receiver since DATE.")
        )
        parser.add_argument("--since", metavar="DATE", help=_("YYYY-MM-DD, or an ISO date and time."))

    def handle(
        self, *, limit: int | None, inline: bool, now: bool, include_none: bool, since: str | None, **options: Any
    ) -> None:
        if limit is not None and limit < 1:
            raise CommandError(_("%(option)s must be at least 1.") % {"option": "--limit"})
        if include_none != bool(since):
            raise CommandError(_("Use --include-none and --since DATE together."))
        if inline and not dispatch.has_receivers():
            raise CommandError(_("No receiver is connected in this process. Import yours in an AppConfig.ready()."))
        none_since = _moment(since) if since else None
        try:
            self.say(_("Callbacks taken over from the spool: %(count)d"), spooled.drain())
            swept = sweeps.sweep(limit=limit, inline=inline, now=now, none_since=none_since)
        except OSError as error:
            raise CommandError(_("The spool can't be used (%(error)s).") % {"error": error}) from None
        except Error as error:
            text = _("The database failed (%(error)s). Callbacks that wait in the spool: %(count)d.")
            raise CommandError(text % {"error": type(error).__name__, "count": spool.state().waiting}) from None
        taken = _("Events tried: %(count)d") if inline else _("Events handed to the dispatcher: %(count)d")
        self.stdout.write(taken % {"count": swept.taken})
        self.say(_("Events that all receivers took: %(count)d"), swept.done)
        self.say(_("Events given up, with no attempt left: %(count)d"), swept.exhausted)
        self.say(_("Events left for a later run: %(count)d"), swept.left)
        if swept.next_due_at:
            text = _("Events waiting for their next attempt: %(count)d (from %(when)s on). --now takes them at once.")
            self.say(text, swept.waiting, when=times.shown(swept.next_due_at))
        if swept.refused:
            text = _("The dispatcher failed. Events that are still due: %(count)d. The log says why.")
            raise CommandError(text % {"count": swept.refused})
        if swept.failed:
            text = _("Attempts that failed: %(count)d. The events name the receivers and their errors.")
            raise CommandError(text % {"count": swept.failed})

    def say(self, text: str, count: int, **values: str) -> None:
        if count:
            self.stdout.write(text % {"count": count, **values})


def _moment(text: str) -> datetime:
    try:
        moment = times.as_stored(datetime.fromisoformat(text))
        moment.astimezone(UTC)  # what a database does with it
    except (ValueError, OverflowError):
        raise CommandError(_("--since needs a date like 2026-01-31, or an ISO date and time.")) from None
    return moment
