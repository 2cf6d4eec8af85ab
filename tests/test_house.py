"""The house holds: who imports whom, one library one module, no words that say nothing, docs and tests for every probe."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import checks

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "checks").rglob("*.py"), *(ROOT / "dashboard").rglob("*.py"), ROOT / "run.py"])

EVERYBODY = {"checks.base", "dashboard", "dashboard.model", "dashboard.errors", "dashboard.clock", "dashboard.logs"}
# who -> what it may import beside EVERYBODY and its own package; arrows go down
ARROWS = {
    "run": {"dashboard.cli"},
    "checks": {"checks"},
    "dashboard": {"dashboard.web"},  # create_app
    "dashboard.cli": {
        "dashboard.runtime",
        "dashboard.config",
        "dashboard.asking",
        "dashboard.engine",
        "dashboard.storage",
    },
    "dashboard.runtime": {
        "dashboard.web",
        "dashboard.prober",
        "dashboard.engine",
        "dashboard.storage",
        "dashboard.config",
        "dashboard.asking",
        "checks",
    },
    "dashboard.web": {"dashboard.engine", "dashboard.storage.base", "dashboard.rollup", "dashboard.uptime"},
    "dashboard.engine": {"dashboard.storage.base", "dashboard.rollup", "dashboard.uptime"},
    "dashboard.storage": {"dashboard.rollup", "dashboard.histogram", "dashboard.uptime"},
    "dashboard.prober": {"checks"},
    "dashboard.config": {"checks"},
    "dashboard.asking": set(),
    "dashboard.rollup": {"dashboard.histogram", "dashboard.uptime"},
    "dashboard.histogram": set(),
    "dashboard.uptime": set(),
    "dashboard.model": set(),
    "dashboard.errors": set(),
    "dashboard.clock": set(),
    "dashboard.logs": set(),
}
ONE_MODULE = {
    "psutil": {"checks.host"},
    "pycurl": {"checks._curl", "checks._curl_words"},
    "re2": {"checks.http"},
    "apscheduler": {"dashboard.prober.scheduler", "dashboard.prober.grid"},
    "tinydb": {"dashboard.storage.documents", "dashboard.storage.series", "dashboard.storage.planner"},
    "plotly": {"dashboard.web.charts"},
    "htmx_flask": {"dashboard.web.htmx"},
    "waitress": {"dashboard.web.server"},
    "ruamel": {"dashboard.config"},
    "flask": {"dashboard.web"},
    "werkzeug": {"dashboard.web"},
    "jinja2": {"dashboard.web"},
    "markupsafe": {"dashboard.web"},
}
EXEMPT = {"pydantic", "pydantic_core", "annotated_types", "orjson", "click"}
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "stuff"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every module that the file imports at run time, functions included, TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (_resolved(node.module or "", alias.name) for alias in node.names)


def _resolved(module: str, name: str) -> str:
    """`from dashboard.web import api` imports the module dashboard.web.api."""
    below = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if below.is_dir() or below.with_suffix(".py").is_file() else module


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "dashboard" else parts[0]


def is_below(module: str, allowed: set[str]) -> bool:
    return any(module == each or module.startswith(each + ".") for each in allowed)


MODULES = {module_of(path): path for path in SOURCES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    room = room_of(module)
    ours = [name for name in imports_of(MODULES[module]) if name.split(".")[0] in {"checks", "dashboard", "run"}]
    assert room in ARROWS, f"{module}: a new room: say in ARROWS what it may import"
    allowed = ARROWS[room] if module == "dashboard" else ARROWS[room] | {room}
    forbidden = [name for name in ours if name not in EVERYBODY and not is_below(name, allowed)]
    assert not forbidden, f"{module} may not import {forbidden}"


@pytest.mark.parametrize("module", MODULES)
def test_one_library_is_known_to_one_module(module):
    for name in imports_of(MODULES[module]):
        library = name.split(".")[0]
        if library in sys.stdlib_module_names | EXEMPT | {"checks", "dashboard", "run"}:
            continue
        assert library in ONE_MODULE, f"{module} imports {library}: no module is named as its home"
        assert is_below(module, ONE_MODULE[library]), f"{library} belongs to {ONE_MODULE[library]}, not to {module}"


@pytest.mark.parametrize("module", MODULES)
def test_public_names_say_what_they_give(module):
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"


def test_no_file_has_a_name_that_says_nothing():
    assert not [path for path in SOURCES if EMPTY_WORDS & set(re.split(r"[_.]", path.stem))]


def test_no_test_folder_hides_a_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_import_does_no_work():
    """No module starts threads, opens files or reads the clock where it is imported."""
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue
            if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign):
                text = ast.unparse(node)
                assert not re.search(r"\b(open|Thread|socket|now|monotonic)\(", text), f"{module}: {text}"


@pytest.mark.parametrize("kind", sorted(checks.load_all()))
def test_every_probe_has_tests_and_docs(kind):
    assert (ROOT / "tests" / "checks" / f"test_{kind}.py").is_file()
    assert f"`{kind}`" in (ROOT / "docs" / "checks.md").read_text("utf-8")


def test_templates_hold_nothing_that_the_content_policy_refuses():
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|\|\s*safe\b", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", text), path
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), f"{path}: foreign address"


def test_all_the_packages_our_user_gave_are_required():
    names = {re.split(r"[=<>~]", line)[0] for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()}
    assert {"flask", "htmx-flask", "psutil", "apscheduler", "plotly", "tinydb", "pytest"} <= names


def test_every_library_is_explained():
    text = (ROOT / "docs" / "libraries.md").read_text("utf-8")
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text("utf-8").splitlines():
            if line and line[0] not in "#-":
                library = re.split(r"[=<>~;\[ ]", line)[0]
                assert f"`{library}`" in text, f"docs/libraries.md does not say why {library} is here"
