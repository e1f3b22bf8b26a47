"""Consistency of names, docstrings, references and links across the repository."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import SecretStr

from api.app import create_app
from api.errors import of_error
from cli.app import app
from cli.output import exit_code
from mindset import errors
from mindset.config.settings import Flags, Settings
from mindset.errors import MindsetError
from mindset.evaluation.evidence import locate
from mindset.evaluation.golden_set import parse_golden_set
from mindset.parsing.registry import parse

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [file for file in sorted((ROOT / "mindset").rglob("*.py")) if "migrations/versions" not in file.as_posix()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def subclasses(error: type[MindsetError]) -> Iterator[type[MindsetError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


# Flows


def _flows(file: Path) -> list[tuple[str, str]]:
    """Return (function, flow name) of a file's flows, without importing it: Prefect's import takes seconds."""
    return [
        (function.name, ast.unparse(next(item.value for item in call.keywords if item.arg == "name")).strip("'"))
        for function in ast.parse(file.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for call in function.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "flow"
    ]


FLOWS = {file.stem: flows for file in sorted((ROOT / "flows").glob("*.py")) if (flows := _flows(file))}
DEPLOYMENTS = {
    deployment["name"]: deployment for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


def test_flows_and_deployments_correspond() -> None:
    assert FLOWS.keys() == DEPLOYMENTS.keys()


@pytest.mark.parametrize("name", FLOWS)
def test_file_function_flow_and_deployment_have_the_same_name(name: str) -> None:
    assert FLOWS[name] == [(name, name)]
    assert DEPLOYMENTS[name]["entrypoint"] == f"flows.{name}.{name}"


# Errors

ERRORS = list(subclasses(MindsetError))
TREE: list[type[MindsetError]] = [MindsetError, *ERRORS]
RAISED = [error for error in ERRORS if not error.__subclasses__()]


def test_all_errors_are_in_one_module() -> None:
    assert {error.__module__ for error in ERRORS} == {"mindset.errors"}


def test_error_tree_in_the_docstring_matches_the_classes() -> None:
    drawn: list[tuple[str, str]] = []
    ancestors: list[str] = []
    for line in inspect.getdoc(errors).split("\n"):  # type: ignore[union-attr]  # the tree is in its docstring
        if match := re.match(r"( *)((?:│   |    )*(?:[├└]── )?)([A-Z]\w+)(?: {2,}.+)?$", line):
            depth = len(match[2]) // 4
            ancestors[depth:] = [match[3]]
            drawn.append((ancestors[depth - 1] if depth else "Exception", match[3]))
    parents = [(error.__base__.__name__, error.__name__) for error in TREE if error.__base__]
    assert sorted(drawn) == sorted(parents)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_has_its_own_docstring(error: type[MindsetError]) -> None:
    assert error.__doc__
    assert error.__doc__ != MindsetError.__doc__


def test_http_status_and_exit_code_of_every_error_match_the_reference() -> None:
    actual = {error.__name__: (str(of_error(error(""))[0].value), str(exit_code(error("")).value)) for error in RAISED}
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d) \|", (REFERENCE / "errors.md").read_text(), re.MULTILINE)
    assert {name: (status, code) for name, status, code in rows} == actual


def test_only_leaves_of_the_error_tree_are_raised() -> None:
    parents = {error.__name__ for error in TREE} - {error.__name__ for error in RAISED}
    raised = {
        f"{name_of(file)}:{node.lineno}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in parents
    }  # fmt: skip
    assert raised == set()


# Settings

_VARIABLES = {f"MINDSET_{name.upper()}": field for name, field in Settings.model_fields.items()}


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in _VARIABLES.items() if not field.description] == []


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    written = {"None": "unset", "True": "true", "False": "false", str(Flags()): "{}"}
    text = (REFERENCE / "settings.md").read_text()
    documented = {
        name: default.strip("`")
        for name, default in re.findall(r"^\| `(MINDSET_\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    }
    assert documented == {
        name: written.get(str(field.default), str(field.default)) for name, field in _VARIABLES.items()
    }


def test_pages_name_only_existing_settings() -> None:
    unknown = {
        f"{name_of(page)}: {name}"
        for page in [*PAGES, *(ROOT / "knowledge_bases").glob("*.yaml")]
        for name in re.findall(r"\bMINDSET_[A-Z_]+[A-Z]\b", page.read_text())
        if name not in _VARIABLES
    }
    assert unknown == set()


# The command line


def _commands(command: Any, path: str = "mindset") -> Iterator[tuple[str, set[str]]]:
    """Yield each command line with its options; of a switch that is on by default, the option that turns it off."""
    if hasattr(command, "commands"):
        for name, subcommand in command.commands.items():
            yield from _commands(subcommand, f"{path} {name}")
    else:
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        yield (
            path,
            {name for option in options for name in (option.secondary_opts if option.default is True else option.opts)},
        )


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", (REFERENCE / "cli.md").read_text(), re.MULTILINE)


def test_every_option_is_in_the_reference() -> None:
    text = (REFERENCE / "cli.md").read_text()
    options = {option for command_options in COMMANDS.values() for option in command_options}
    assert {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)} == set()


def test_pages_show_only_existing_commands() -> None:
    first = {command.split()[1] for command in COMMANDS}
    unknown = {
        f"{name_of(page)}: mindset {command}"
        for page in PAGES
        for command in re.findall(r"(?:`|\$ |^\.venv/bin/)mindset ([a-z-]+)", page.read_text(), re.MULTILINE)
        if command not in first
    }
    assert unknown == set()


# The API


def test_routes_of_the_api_are_those_of_its_reference() -> None:
    paths = create_app(Settings(postgres_url=SecretStr("postgresql://127.0.0.1:1/none"))).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    section = (REFERENCE / "api.md").read_text().partition("## Endpoints")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]+)`", section)) == routes


# Docstrings, links, targets


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_module_and_its_public_names_have_docstrings(file: Path) -> None:
    module = ast.parse(file.read_text())
    public = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
    assert not module.body or ast.get_docstring(module)


MAX_LINES = 300
PACKAGES = ("mindset", "blocks", "flows", "api", "cli", "local_stack", "benchmarks")


def test_long_modules_give_the_reason_in_their_docstring() -> None:
    long = {
        name_of(file): ast.get_docstring(ast.parse(file.read_text())) or ""
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if "migrations/versions" not in file.as_posix() and len(file.read_text().splitlines()) > MAX_LINES
    }
    assert [name for name, docstring in long.items() if "300 lines" not in docstring] == []


def test_collections_are_dropped_in_one_place_only() -> None:
    dropping = {
        name_of(file)
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(("vectors.drop", "index.drop"))
    }
    assert dropping == {"mindset/pipeline/collections.py"}


LOOSE_MODULES = {"__init__.py", "application.py", "errors.py", "redis.py", "tracing.py"}


def test_domain_has_no_other_loose_modules() -> None:
    assert {file.name for file in (ROOT / "mindset").glob("*.py")} == LOOSE_MODULES


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not re.match(r"[a-z]+:", link) and not (file.exists() and (not anchor or anchor in _anchors(file))):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text())
        if not re.match(r"[a-z]+:", link)
    }
    assert [name_of(page) for page in PAGES if page.resolve() not in linked and page.name != "README.md"] == []


_MAKEFILE = (ROOT / "Makefile").read_text()
_TARGETS = {
    target for line in re.findall(r"^([a-z][a-z -]*):(?!=)", _MAKEFILE, re.MULTILINE) for target in line.split()
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_only_existing_make_targets(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ |^)make ((?:[A-Z]+=\S+ )*)([a-z][a-z-]*)(?=[ `\n])", page.read_text(), re.MULTILINE)
    assert {target for _, target in named} <= _TARGETS


def test_every_make_target_has_a_description_and_runs_existing_modules() -> None:
    described = set(re.findall(r"^([a-z-]+):.*## ", _MAKEFILE, re.MULTILINE))
    assert described == _TARGETS
    modules = re.findall(r"python -m ([\w.]+)", _MAKEFILE)
    assert [module for module in modules if find_spec(module) is None] == []


def test_every_quote_of_the_golden_set_occurs_in_its_page() -> None:
    def text(uri: str) -> str:
        return parse(uri, (ROOT / "docs" / uri).read_bytes()).text

    golden = parse_golden_set(ROOT / "knowledge_bases" / "docs.golden.jsonl")
    stale = [
        question.id for question in golden.questions for evidence in question.evidence if locate(evidence, text) is None
    ]
    assert stale == []
