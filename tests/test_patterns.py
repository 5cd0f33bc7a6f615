"""No regular expression of the package takes much longer for what a stranger may send, and none is built from it."""

import ast
import importlib
import itertools
import logging
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import django_plugchat
from django_plugchat.phones.mentions import Person
from django_plugchat.phones.numbers import (
    format_phone,
    mask_id,
    mask_numbers,
    mask_phone,
    normalise,
    searched,
)
from django_plugchat.redaction import RedactingFilter, before_send, mask_url, redact

from .hostile_texts import grows_too_fast, slow_text
from .payloads import SECRET

ROOT = Path(django_plugchat.__file__).parent
FUNCTIONS = {
    f"re.{name}" for name in ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
}


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(django_plugchat.__path__, "django_plugchat."):
        yield importlib.import_module(found.name)


def patterns_in(value: Any, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict | list | tuple | set | frozenset):
        items = itertools.chain(value, value.values()) if isinstance(value, dict) else value
        for item in items:
            yield from patterns_in(item, depth - 1)
    elif depth and isinstance(value, type) and value.__module__.startswith("django_plugchat"):
        for item in vars(value).values():
            yield from patterns_in(item, depth - 1)


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FUNCTIONS:
                yield file, node


def is_literal(node: ast.AST, constants: set[str]) -> bool:
    """Whether a pattern is written down: a literal, or put together of constants of its module."""
    if isinstance(node, ast.JoinedStr):
        return all(is_literal(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return is_literal(node.value, constants)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in constants)


def constants_of(file: Path) -> set[str]:
    return {
        target.id
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and is_literal(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def all_patterns() -> list[re.Pattern[Any]]:
    found = {pattern for module in modules() for value in vars(module).values() for pattern in patterns_in(value)}
    for _file, call in calls():
        if isinstance(call.args[0], ast.Constant):
            found.add(re.compile(call.args[0].value))
    # What a URLconf is made of: Django compiles its routes when it first resolves one.
    for file in sorted(ROOT.rglob("urls.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "re_path":
                found.add(re.compile(ast.literal_eval(node.args[0])))
    return sorted(found, key=lambda pattern: str(pattern.pattern))


PATTERNS = all_patterns()


@pytest.mark.nightly
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: str(pattern.pattern)[:60])
def test_no_pattern_is_superlinear(pattern):
    assert slow_text(pattern) == ""


@pytest.mark.nightly
@pytest.mark.parametrize("written", [r"(?:a+)+\Z", r"\\+u[0-9]{4}"])
def test_what_this_would_find(written):
    assert slow_text(re.compile(written)) != ""


TAKING_TEXT: dict[str, Callable[[str], Any]] = {
    "normalise": normalise,
    "searched": searched,
    "mask_phone": mask_phone,
    "format_phone": format_phone,
    "mask_id": mask_id,
    "mask_numbers": mask_numbers,
    "Person.found_in": lambda text: Person("5544988771234").found_in([text, text]),
    "redact": redact,
    "mask_url": mask_url,
    "before_send": lambda text: before_send({"message": text, "request": {"url": text}}, {}),
    "RedactingFilter": lambda text: RedactingFilter().filter(logging.makeLogRecord({"msg": "%s", "args": (text,)})),
}
HOSTILE = [
    *("(", "1 ", "0 ", "+1", "00 ", "1a", "12345678 ", "5544988771234 ", "771234 ", "5 5 4 4 9 8 8 7 7 1 2 3 4 "),
    *("+1 55 44 98877-1234 ", "12.5544988771234 ", "\\n"),
    *(
        "\\",
        "\\u0035",
        "\\u005c",
        "\\ud835",
        "\u00e91",
        "\uff11",
        "\u200b",
        "1\u200b",
        "\ufdfa",
        "%",
        "%25",
        "%31",
        "@",
        "-",
        "_",
    ),
    *('"', '\\"', '"id":', '"id":"1",', "callback/", "/callback", "callback", "x?django_plugchat", SECRET[:-1], SECRET),
]


@pytest.mark.nightly
@pytest.mark.parametrize("function", TAKING_TEXT.values(), ids=TAKING_TEXT)
def test_what_hostile_texts_take(function):
    """Shown by ``pytest -s``: the five that take longest of 64 kB."""
    taken = []
    for hostile in HOSTILE:
        too_fast, seconds = grows_too_fast(function, "", hostile)
        taken.append((seconds, hostile))
        assert not too_fast, hostile
    shown = ", ".join(f"{hostile!a} {seconds * 1000:.0f} ms" for seconds, hostile in sorted(taken, reverse=True)[:5])
    sys.stdout.write(f"\n64 kB: {shown}\n")


def test_no_pattern_is_built_from_input():
    built = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file, call in calls()
        if not is_literal(call.args[0], constants_of(file))
    ]
    assert not built
    assert len(PATTERNS) > 20
