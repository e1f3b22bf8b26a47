"""What is installed with an extra is enough to start what the extra is for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BROUGHT_ALONG = {
    "starlette",
    "anyio",
    "psycopg-pool",
    "pydantic-core",
    "httpcore",
    "python-dotenv",
}  # by FastAPI, psycopg, pydantic, httpx, pydantic-settings
OURS = {"mindset", "blocks", "flows", "api", "cli", "local_stack"}


def _required(extra: str) -> Iterator[str]:
    """Names of the packages that come with the project and this extra, but not those that these bring along."""
    for each in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]):
        if also := re.match(r"product-mindset\[(.+)\]", each):
            yield from _required(also[1])
        else:
            yield re.split(r"[\[><=]", each)[0].lower()


def _imported(file: Path) -> Iterator[str]:
    """First names of the modules that a file of ours imports as it is imported itself."""
    waiting: list[ast.AST] = list(ast.parse(file.read_text()).body)
    for each in waiting:
        if isinstance(each, ast.Import):
            yield from (name.name.partition(".")[0] for name in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield (each.module or "").partition(".")[0]
        elif not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_for_type_checkers(each):
            waiting += ast.iter_child_nodes(each)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize(("module", "extra"), [("cli.app", "cli"), ("api.__main__", "api")])
def test_an_extra_brings_all_that_its_process_imports(module: str, extra: str) -> None:
    script = f"import json, sys, {module}; print(json.dumps([getattr(m, '__file__', 0) for m in sys.modules.values()]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {Path(file) for file in json.loads(done.stdout) if file}
    ours = [file for file in files if file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in OURS]
    assert ours
    names = {name for file in ours for name in _imported(file)} - OURS - sys.stdlib_module_names
    found = packages_distributions()
    brought = {*_required(extra), *BROUGHT_ALONG}
    # Several packages may share a name, as those of OpenTelemetry do.
    packages = {name: {each.lower().replace("_", "-") for each in found[name]} for name in names if name}
    assert {name for name, any_of in packages.items() if not any_of & brought} == set()


def test_the_command_line_brings_what_measures_a_version() -> None:
    assert "ir-measures" in set(_required("cli"))
