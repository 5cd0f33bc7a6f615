from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def progress(steps: Iterable[T], total: int | None = None) -> Iterable[T]:
    """The same steps. On a terminal tqdm shows how many were made, where that is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, total=total, leave=False, disable=None)
