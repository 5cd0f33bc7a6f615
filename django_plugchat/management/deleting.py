from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _, gettext_noop

from django_plugchat.conf import app_settings
from django_plugchat.upkeep import spooled

EVENTS = gettext_noop("Events: %(count)d")
REJECTED = gettext_noop("Rejected callbacks: %(count)d")
HISTORY = gettext_noop("Entries of the admin's history, without the number: %(count)d")
SPOOLED = gettext_noop("Callbacks in the spool: %(count)d")


@contextmanager
def counting(stdout: OutputWrapper, *texts: str, dry_run: bool) -> Iterator[Counter[str]]:
    """Gives where to count what is deleted, by these texts; says them at the end, also of a run that breaks off."""
    counts = Counter[str]()
    try:
        yield counts
    except KeyboardInterrupt:
        raise CommandError(_("Interrupted. Run it again for the rest."), returncode=130) from None
    except OSError as error:
        raise CommandError(_("The spool can't be used (%(error)s).") % {"error": error}) from None
    finally:
        for text in [*texts, SPOOLED] if app_settings.spool_dir else texts:
            stdout.write(_(text) % {"count": counts[text]})
        if app_settings.spool_dir:
            stdout.write(spooled.reach())
        stdout.write(_("That is what would be deleted.") if dry_run else _("All that is deleted."))
