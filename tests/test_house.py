"""What keeps the house true: names that must agree, and references that must be whole."""

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
from api.problems import of_error
from cli.app import app
from cli.output import exit_code
from mindset import errors
from mindset.errors import MindsetError
from mindset.evaluation.evidence import locate
from mindset.evaluation.golden import parse_golden_set
from mindset.parsing.formats import parse
from mindset.settings import Flags, Settings

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [file for file in sorted((ROOT / "mindset").rglob("*.py")) if "migrations/versions" not in file.as_posix()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def subclasses(error: type[MindsetError]) -> Iterator[type[MindsetError]]:
    for each in error.__subclasses__():
        yield each
        yield from subclasses(each)


# Flows


def _flows(file: Path) -> list[tuple[str, str]]:
    """(function, name) of the flows that a file defines; it is read and not imported, since Prefect takes seconds."""
    return [
        (function.name, ast.unparse(next(word.value for word in call.keywords if word.arg == "name")).strip("'"))
        for function in ast.parse(file.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for call in function.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "flow"
    ]


FLOWS = {file.stem: found for file in sorted((ROOT / "flows").glob("*.py")) if (found := _flows(file))}
DEPLOYMENTS = {each["name"]: each for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def test_every_flow_has_a_deployment_and_every_deployment_a_flow() -> None:
    assert FLOWS.keys() == DEPLOYMENTS.keys()


@pytest.mark.parametrize("name", FLOWS)
def test_a_flows_file_function_name_and_deployment_are_called_alike(name: str) -> None:
    assert FLOWS[name] == [(name, name)]
    assert DEPLOYMENTS[name]["entrypoint"] == f"flows.{name}.{name}"


# Errors

ERRORS = list(subclasses(MindsetError))
TREE: list[type[MindsetError]] = [MindsetError, *ERRORS]
RAISED = [each for each in ERRORS if not each.__subclasses__()]


def test_all_errors_are_in_one_module() -> None:
    assert {each.__module__ for each in ERRORS} == {"mindset.errors"}


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    drawn: list[tuple[str, str]] = []
    above: list[str] = []
    for line in inspect.getdoc(errors).split("\n"):  # type: ignore[union-attr]  # it has a docstring: it is drawn there
        if match := re.match(r"( *)((?:│   |    )*(?:[├└]── )?)([A-Z]\w+)(?: {2,}.+)?$", line):
            depth = len(match[2]) // 4
            above[depth:] = [match[3]]
            drawn.append((above[depth - 1] if depth else "Exception", match[3]))
    parents = [(each.__base__.__name__, each.__name__) for each in TREE if each.__base__]
    assert sorted(drawn) == sorted(parents)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_says_what_it_means(error: type[MindsetError]) -> None:
    assert error.__doc__
    assert error.__doc__ != MindsetError.__doc__


def test_every_error_is_a_problem_and_an_exit_code_as_its_reference_says() -> None:
    actual = {each.__name__: (str(of_error(each(""))[0].value), str(exit_code(each("")).value)) for each in RAISED}
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d) \|", (REFERENCE / "errors.md").read_text(), re.MULTILINE)
    assert {name: (status, code) for name, status, code in rows} == actual


def test_parents_of_errors_are_not_raised_themselves() -> None:
    parents = {each.__name__ for each in TREE} - {each.__name__ for each in RAISED}
    raised = {
        f"{name_of(file)}:{each.lineno}"
        for file in MODULES
        for each in ast.walk(ast.parse(file.read_text()))
        if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call) and isinstance(each.exc.func, ast.Name)
        and each.exc.func.id in parents
    }  # fmt: skip
    assert raised == set()


# Settings

_VARIABLES = {f"MINDSET_{name.upper()}": field for name, field in Settings.model_fields.items()}


def test_every_setting_is_described_where_it_is_defined() -> None:
    assert [name for name, field in _VARIABLES.items() if not field.description] == []


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    shown = {"None": "unset", "True": "true", "False": "false", str(Flags()): "{}"}
    text = (REFERENCE / "settings.md").read_text()
    documented = {
        name: default.strip("`")
        for name, default in re.findall(r"^\| `(MINDSET_\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    }
    assert documented == {name: shown.get(str(field.default), str(field.default)) for name, field in _VARIABLES.items()}


def test_no_page_names_a_setting_that_there_is_not() -> None:
    named = {
        f"{name_of(page)}: {name}"
        for page in [*PAGES, *(ROOT / "knowledge_bases").glob("*.yaml")]
        for name in re.findall(r"\bMINDSET_[A-Z_]+[A-Z]\b", page.read_text())
        if name not in _VARIABLES
    }
    assert named == set()


# The command line


def _commands(command: Any, path: str = "mindset") -> Iterator[tuple[str, set[str]]]:
    """(command line, its options) of every command; a switch that is on by default is known by what turns it off."""
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from _commands(each, f"{path} {name}")
    else:
        options = [each for each in command.params if each.param_type_name == "option"]
        yield path, {name for each in options for name in (each.secondary_opts if each.default is True else each.opts)}


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", (REFERENCE / "cli.md").read_text(), re.MULTILINE)


def test_every_option_is_in_the_reference() -> None:
    text = (REFERENCE / "cli.md").read_text()
    options = {option for found in COMMANDS.values() for option in found}
    assert {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)} == set()


def test_no_page_shows_a_command_that_there_is_not() -> None:
    first = {command.split()[1] for command in COMMANDS}
    unknown = {
        f"{name_of(page)}: mindset {command}"
        for page in PAGES
        for command in re.findall(r"(?:`|\$ |^\.venv/bin/)mindset ([a-z-]+)", page.read_text(), re.MULTILINE)
        if command not in first
    }
    assert unknown == set()


# The API


def test_the_addresses_of_the_api_are_those_of_its_reference() -> None:
    described = create_app(Settings(postgres_url=SecretStr("postgresql://127.0.0.1:1/none"))).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    section = (REFERENCE / "api.md").read_text().partition("## Addresses")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]+)`", section)) == routes


# Docstrings, links, targets


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_what_a_module_offers_is_described(file: Path) -> None:
    module = ast.parse(file.read_text())
    offered = [each for each in module.body if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name[0] != "_"]
    assert [each.name for each in offered if not ast.get_docstring(each)] == []
    assert not module.body or ast.get_docstring(module)


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not re.match(r"[a-z]+:", link) and not (file.exists() and (not anchor or anchor in _anchors(file))):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_another() -> None:
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
def test_every_target_that_a_page_names_is_one(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ |^)make ((?:[A-Z]+=\S+ )*)([a-z][a-z-]*)(?=[ `\n])", page.read_text(), re.MULTILINE)
    assert {target for _, target in named} <= _TARGETS


def test_every_target_is_described_and_runs_what_there_is() -> None:
    described = set(re.findall(r"^([a-z-]+):.*## ", _MAKEFILE, re.MULTILINE))
    assert described == _TARGETS
    modules = re.findall(r"python -m ([\w.]+)", _MAKEFILE)
    assert [module for module in modules if find_spec(module) is None] == []


def test_every_quotation_of_the_golden_set_stands_in_its_page() -> None:
    def text(uri: str) -> str:
        return parse(uri, (ROOT / "docs" / uri).read_bytes()).text

    golden = parse_golden_set(ROOT / "knowledge_bases" / "docs.golden.jsonl")
    stale = [each.id for each in golden.questions for evidence in each.evidence if locate(evidence, text) is None]
    assert stale == []
