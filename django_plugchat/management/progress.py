from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import OutputWrapper


class _AsItIs:
    """A bar draws over itself: without a line's end, nor the red of stderr."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        self.stream.write(text, style_func=str, ending="")

    def flush(self) -> None:
        self.stream.flush()


@contextmanager
def progress(stream: OutputWrapper, total: int) -> Iterator[Callable[[int], Any]]:
    """Gives what is to be called with each step's size: a bar with tqdm, a count without it, nothing off a terminal."""
    if not stream.isatty():
        yield lambda step: None
        return
    terminal = _AsItIs(stream)
    try:
        from tqdm import tqdm
    except ImportError:
        done = 0

        def count(step: int) -> None:
            nonlocal done
            done += step
            terminal.write(f"\r{done}/{total}")
            terminal.flush()

        try:
            yield count
        finally:
            terminal.write("\n")
    else:
        with tqdm(total=total, file=terminal, leave=False) as bar:
            yield bar.update
