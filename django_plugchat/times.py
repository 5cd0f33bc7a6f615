"""The one place that knows whether this project's datetimes are aware (``USE_TZ``) or naive."""

from datetime import UTC, date, datetime

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format


def from_timestamp(seconds: float) -> datetime:
    """A moment as this project stores it, from seconds since the epoch."""
    return as_stored(datetime.fromtimestamp(seconds, tz=UTC))


def as_stored(moment: datetime) -> datetime:
    """The same moment as this project stores it. A naive one is of the current time zone."""
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    return timezone.make_naive(moment, timezone.get_default_timezone()) if timezone.is_aware(moment) else moment


def local(moment: datetime) -> datetime:
    """A stored moment in the current time zone, for people."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def today() -> date:
    return local(timezone.now()).date()


def start_of(day: date) -> datetime:
    """When a day begins, where the project is."""
    return as_stored(datetime(day.year, day.month, day.day))  # noqa: DTZ001


def shown(moment: datetime) -> str:
    """A stored moment as people read it, short."""
    return date_format(local(moment), "SHORT_DATETIME_FORMAT")
