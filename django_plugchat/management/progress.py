from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(total: int | None = None) -> Iterator[Callable[[int], Any]]:
    """Gives what to call after each step, with its size. On a terminal tqdm shows it, where that is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda size: None
    else:
        with tqdm(total=total, leave=False, disable=None) as bar:
            yield bar.update
