from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import OutputWrapper


@contextmanager
def in_steps(stream: OutputWrapper, total: int) -> Iterator[Callable[[int], None]]:
    """For a long command that works in batches: gives what it is to call after each, with the batch's size.

    Shows on a terminal how far it is, and raises KeyboardInterrupt there when Ctrl-C was pressed meanwhile.
    """
    with _bar(stream, total) as show, _interrupts_kept() as raise_kept:

        def step(size: int) -> None:
            show(size)
            raise_kept()

        yield step


@contextmanager
def _interrupts_kept() -> Iterator[Callable[[], None]]:
    # Within a commit KeyboardInterrupt leaves Django with a connection that fails in another way. A second one acts at
    # once all the same, for a statement that hangs.
    kept = []

    def keep(signum: int, frame: FrameType | None) -> None:
        kept.append(signum)
        signal.signal(signal.SIGINT, previous)

    def raise_kept() -> None:
        if kept:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        # No other may set a handler; nor does it get the signal.
        yield raise_kept
        return
    previous = signal.signal(signal.SIGINT, keep)
    try:
        yield raise_kept
    finally:
        signal.signal(signal.SIGINT, previous)


class _AsItIs:
    """A bar draws over itself: without a line's end, nor the red of stderr."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        self.stream.write(text, style_func=str, ending="")

    def flush(self) -> None:
        self.stream.flush()


@contextmanager
def _bar(stream: OutputWrapper, total: int) -> Iterator[Callable[[int], Any]]:
    if not stream.isatty():
        yield lambda size: None
        return
    terminal = _AsItIs(stream)
    try:
        from tqdm import tqdm
    except ImportError:
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            terminal.write(f"\r{done}/{total}")
            terminal.flush()

        try:
            yield count
        finally:
            terminal.write("\n")
    else:
        with tqdm(total=total, file=terminal, leave=False) as bar:
            yield bar.update
