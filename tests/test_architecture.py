"""The map of CONTRIBUTING.md: imports go down its table, and never in a circle."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_plugchat

PACKAGE = Path(django_plugchat.__file__).parent

#: The table of CONTRIBUTING.md, from the ground up. A module imports only from its own row and those before it.
ROWS = [
    ["conf", "times"],
    ["provider"],
    ["phones"],
    ["redaction"],
    ["models", "querysets"],
    ["accounts"],
    ["signals", "statements", "dispatch", "tasks"],
    ["spool", "bodies", "payloads", "serializers", "recording", "views", "urls"],
    ["client", "registering"],
    ["upkeep", "story"],
    ["testing"],
    ["admin", "templatetags", "management", "checks", "apps"],
]
ROW_OF = {room: number for number, row in enumerate(ROWS) for room in row}
MOST_MODULES, MOST_ROOMS = 22, 8
#: What need not be installed, and is looked for where it is used.
OPTIONAL = {"tqdm"}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_of(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "migrations" not in path.parts and (path.name != "__init__.py" or "import" in path.read_text())
}


def imported_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    else:
        yield from (f"{node.module}.{name.name}" for name in node.names)


def own_module(name: str) -> str | None:
    """The module of this package that a name is imported from; None for others', "" for the package itself."""
    if name.partition(".")[0] != "django_plugchat":
        return None
    inside = name.partition(".")[2]
    while inside and inside not in MODULES:
        inside = inside.rpartition(".")[0]
    return inside


def imports_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not getattr(node, "level", 0), "A relative import."
            yield from imported_names(node)


def imports_inside_functions(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from ((getattr(node, "name", "lambda"), name) for name in imports_in(node))


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imported_by(module: str) -> set[str]:
    tree = ast.parse(MODULES[module].read_text())
    return {own for name in imports_in(tree) if (own := own_module(name)) and own != module}


def way_back_to(start: str) -> list[str]:
    """How a module comes to import itself; empty if it does not."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for module in imported_by(way[-1]):
            if module == start:
                return [*way, start]  # pragma: no cover - of a circle
            if module not in seen:
                seen.add(module)
                ways.append([*way, module])
    return []


def test_every_module_has_its_place():
    assert {room_of(module) for module in MODULES} <= set(ROW_OF)


def test_the_top_folder_holds_few_modules_and_rooms():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"migrations"}
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_MODULES
    assert len(rooms) <= MOST_ROOMS


def test_the_map_is_the_one_for_contributors():
    table = (PACKAGE.parent / "CONTRIBUTING.md").read_text().partition("| room |")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)(?:\.py|/)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert shown == ROWS


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_table(module):
    row = ROW_OF[room_of(module)]
    assert {imported for imported in imported_by(module) if ROW_OF[room_of(imported)] > row} == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_module_comes_to_import_itself(module):
    assert way_back_to(module) == []


@pytest.mark.parametrize("room", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_every_room_says_what_it_answers(room):
    source = (PACKAGE / room / "__init__.py").read_text()
    assert room == "migrations" or ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("module", MODULES)
def test_no_function_imports_anything(module):
    """But what is optional, and what an AppConfig may not import before the apps are ready."""
    for function, name in imports_inside_functions(ast.parse(MODULES[module].read_text())):
        assert name.partition(".")[0] in OPTIONAL or (module, function) == ("apps", "ready")


def test_what_would_be_found():
    tree = ast.parse("import a.b\ndef f():\n    from django_plugchat.models import X\ng = lambda: 1")
    assert list(imports_in(tree)) == ["a.b", "django_plugchat.models.X"]
    assert list(imports_inside_functions(tree)) == [("f", "django_plugchat.models.X")]
    assert own_module("django_plugchat.models.X") == "models"
    assert own_module("django_plugchat.admin.base.X") == "admin.base"
    assert own_module("django_plugchat.__version__") == ""
    assert own_module("django.db.models") is None
    with pytest.raises(AssertionError):
        list(imports_in(ast.parse("from . import models")))
