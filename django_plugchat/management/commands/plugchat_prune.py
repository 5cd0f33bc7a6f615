from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat.conf import app_settings
from django_plugchat.management.deleting import EVENTS, REJECTED, SPOOLED, counting
from django_plugchat.management.progress import progress
from django_plugchat.models import RejectedCallback
from django_plugchat.upkeep import deletion, spooled

# One parameter each, of which SQLite takes 32,766.
_LARGEST_BATCH = 10_000
# As RETENTION_DAYS.
_MOST_DAYS = 365_000


class Command(BaseCommand):
    help = gettext_noop(
        "Delete the events received, and the rejected callbacks last received, more than RETENTION_DAYS ago, and the "
        "files of this host's spool. May be interrupted, and goes on where it was when run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.description = _(self.help)
        parser.add_argument("--days", type=int, metavar="N", help=_("Instead of RETENTION_DAYS."))
        parser.add_argument("--dry-run", action="store_true", help=_("Say how many, and delete nothing."))
        parser.add_argument(
            "--batch-size", type=int, default=1000, metavar="N", help=_("Rows deleted at once. Default: %(default)s")
        )
        parser.add_argument(
            "--include-pending", action="store_true", help=_("Also the events that are still to be dispatched.")
        )

    def handle(
        self, *, days: int | None, dry_run: bool, batch_size: int, include_pending: bool, **options: Any
    ) -> None:
        if not 1 <= batch_size <= _LARGEST_BATCH:
            raise CommandError(_("--batch-size goes from 1 to %(largest)d.") % {"largest": _LARGEST_BATCH})
        if not dry_run:
            deletion.analyze()
        days = app_settings.retention_days if days is None else days
        if days is None:
            self.stdout.write(_("Retention is off: RETENTION_DAYS is None. Nothing was deleted."))
            return
        if not 0 <= days <= _MOST_DAYS:
            raise CommandError(_("%(days)d days ago is no date to delete by.") % {"days": days})
        before = timezone.now() - timedelta(days=days)
        events = deletion.old_events(before, include_pending=include_pending)
        rejected = RejectedCallback.objects.for_writing().filter(last_received_at__lt=before)
        needed, needed_by = 0, set[str]()
        with counting(self.stdout, EVENTS, REJECTED, dry_run=dry_run) as counts:
            for text, rows, by in ((EVENTS, events, "received_at"), (REJECTED, rejected, "pk")):
                for batch in progress(rows.only("pk", by).in_batches(batch_size, by=by)):
                    # Under their conditions still: meanwhile an event may have been dispatched again.
                    done = deletion.delete(rows, [row.pk for row in batch], at_once=batch_size, dry_run=dry_run)
                    counts[text] += done.deleted
                    needed += len(done.needed)
                    needed_by = needed_by.union(*done.needed.values())
            counts[SPOOLED] = spooled.prune(before, include_waiting=include_pending, dry_run=dry_run)
        if needed:
            text = _("Kept, because rows of other tables (%(needed_by)s) need them: %(count)d")
            self.stdout.write(text % {"count": needed, "needed_by": ", ".join(sorted(needed_by))})
        if not include_pending and (kept := deletion.old_events(before, include_pending=True).unfinished().count()):
            text = _("Kept, because they are still to be dispatched: %(count)d (not so with --include-pending)")
            self.stdout.write(text % {"count": kept})
