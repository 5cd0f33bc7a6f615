"""The map of CONTRIBUTING.md: each module imports only from those before it, and can be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_plugchat

PACKAGE = Path(django_plugchat.__file__).parent

#: From the ground up. A module imports only from those before it.
LAYERS = [
    "conf",
    "times",
    "provider",
    "answers",
    "failures",
    "payloads",
    "digits",
    "phones",
    "redaction.texts",
    "redaction.paths",
    "redaction.records",
    "redaction.sentry",
    "redaction",
    "querysets",
    "models",
    "statements",
    "signals",
    "serializers",
    "dispatch",
    "sweeps",
    "tasks",
    "recording",
    "bodies",
    "views",
    "urls",
    "addresses",
    "exchange",
    "client",
    "registration",
    "probe",
    "mentions",
    "retention",
    "jobs",
    "figures",
    "status",
    "testing",
    "simulation",
    "admin.base",
    "admin.filters",
    "admin.search",
    "admin.progress",
    "admin.explanations",
    "admin.chart",
    "admin.export",
    "admin.actions",
    "admin.message",
    "admin.overview",
    "admin.registrations",
    "admin.rejected",
    "admin.events",
    "admin",
    "management.progress",
    "management.commands.plugchat_forget",
    "management.commands.plugchat_prune",
    "management.commands.plugchat_redispatch",
    "management.commands.plugchat_set_webhook",
    "management.commands.plugchat_simulate",
    "management.commands.plugchat_status",
    "checks",
    "schema",
    "apps",
]
#: What need not be installed, and is looked for where it is used.
OPTIONAL = {"tqdm"}
LONGEST = 300


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


def test_every_module_has_its_place():
    assert sorted(LAYERS) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_from_those_before_them(module):
    imported = {own for name in imports_in(ast.parse(MODULES[module].read_text())) if (own := own_module(name))}
    assert imported <= set(LAYERS[: LAYERS.index(module)])


@pytest.mark.parametrize("module", MODULES)
def test_no_function_imports_anything(module):
    """But what is optional, and what an AppConfig may not import before the apps are ready."""
    for function, name in imports_inside_functions(ast.parse(MODULES[module].read_text())):
        assert name.partition(".")[0] in OPTIONAL or (module, function) == ("apps", "ready")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


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
