"""What takes longer than a request should: carried by the task framework, where that runs outside of the request."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from django_plugchat import recording, tasks
from django_plugchat.models import RejectedCallback

logger = logging.getLogger(__name__)


class Replayed(NamedTuple):
    recorded: int
    still_refused: int


def replay(pks: Iterable[Any]) -> Replayed:
    """Try rejected callbacks again, one by one. Those that are gone meanwhile count as neither."""
    recorded = still_refused = 0
    for pk in pks:
        rejected = RejectedCallback.objects.for_writing().filter(pk=pk).first()
        if rejected is not None:
            is_recorded = recording.replay(rejected) is not None
            recorded += is_recorded
            still_refused += not is_recorded
    return Replayed(recorded, still_refused)


def replay_and_log(pks: list[Any]) -> None:
    replayed = replay(pks)
    logger.info("Replayed rejected callbacks: %d recorded, %d still refused.", *replayed)


replay_and_log = tasks.as_task(replay_and_log)


def can_replay_elsewhere() -> bool:
    """Whether another process would replay what ``replay_elsewhere`` is given."""
    return not tasks.runs_in_caller(replay_and_log)


def replay_elsewhere(pks: list[Any]) -> None:
    replay_and_log.enqueue(pks)  # type: ignore[attr-defined]
