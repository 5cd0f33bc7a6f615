import statistics
import sys
from collections.abc import Sequence


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def spread(values: Sequence[float], decimals: int = 0, factor: float = 1) -> str:
    """The median, and in brackets the quartiles."""
    low, median, high = statistics.quantiles([value * factor for value in values], n=4)
    return f"{median:,.{decimals}f} ({low:,.{decimals}f}-{high:,.{decimals}f})"


def ratios(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """Of what was measured in the same round: what slows a round down slows all of it."""
    return [one / other for one, other in zip(values, to, strict=True)]


def median_ratio(values: Sequence[float], to: Sequence[float]) -> float:
    return statistics.median(ratios(values, to))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    say("| " + " | ".join(heads) + " |")
    say("|---" + "|---:" * (len(heads) - 1) + "|")
    for row in rows:
        say("| " + " | ".join(map(str, row)) + " |")
    say()


def goals(rows: Sequence[tuple[str, float, str, float]]) -> None:
    """Each: what, measured, ``"≤"`` or ``"≥"``, the goal."""
    table(
        ["Goal", "Wanted", "Measured", ""],
        [
            (what, f"{sign} {goal:g}", f"{round(measured, 2):g}", _verdict(measured, sign, goal))
            for what, measured, sign, goal in rows
        ],
    )


def _verdict(measured: float, sign: str, goal: float) -> str:
    return "met" if (measured <= goal if sign == "≤" else measured >= goal) else "missed"
