"""`mindset kb validate`, as somebody meets it who has just cloned the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.output import exit_code
from mindset.errors import MindsetError

GUIDES = "name: guides\ntitle: Guides\nsources: [{path: '${GUIDES_FOLDER:-../elsewhere}/pages'}]\n"


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One definition whose documents are here, and one whose are not."""
    folder = tmp_path / "knowledge_bases"
    folder.mkdir()
    (folder / "here.yaml").write_text("name: here\ntitle: Here\nsources: [{path: ../documents}]\n")
    (folder / "guides.yaml").write_text(GUIDES)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.md").write_text("# A")
    monkeypatch.setenv("MINDSET_KNOWLEDGE_BASES", str(folder))
    monkeypatch.delenv("GUIDES_FOLDER", raising=False)
    return folder


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["kb", "validate", *arguments])


def test_a_source_that_is_elsewhere_is_a_warning_that_names_its_variable(definitions: Path) -> None:
    done = validate()
    assert done.exit_code == 0
    assert "here" in done.stdout
    output = " ".join(done.stderr.split())
    assert "Warning: guides: Folder" in output
    assert "Or set GUIDES_FOLDER, from which guides.yaml takes the path." in output
    rows = {each["name"]: each for each in json.loads(validate("--json").stdout)}
    assert (rows["here"]["documents"], rows["guides"]["documents"]) == (1, None)


def test_a_knowledge_base_that_is_asked_for_must_have_its_source(definitions: Path) -> None:
    done = validate("guides")
    assert isinstance(done.exception, MindsetError)
    assert exit_code(done.exception) == 4
    assert "GUIDES_FOLDER" in str(done.exception)
    assert validate("here").exit_code == 0


def test_every_wrong_definition_is_reported_beside_those_that_are_right(definitions: Path) -> None:
    (definitions / "bad.yaml").write_text("name: bad\ntitle: Bad\n")
    (definitions / "worse.yaml").write_text("name: [")
    done = validate()
    assert done.exit_code == 2
    output = " ".join(done.stderr.split())
    assert "Invalid: bad: " in output
    assert "sources: Field required" in output
    assert "Invalid: worse: " in output
    assert "here" in done.stdout


def test_a_variable_that_is_set_is_not_asked_for(definitions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDES_FOLDER", "/nowhere")
    done = validate()
    assert "Folder /nowhere/pages does not exist" in " ".join(done.stderr.split())
    assert "Or set" not in done.stderr
