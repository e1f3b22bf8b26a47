"""Golden sets as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindset.config.build_options import FolderSource
from mindset.config.evaluation_options import Evaluation
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import ConfigurationError
from mindset.evaluation.golden_set import load_golden_set, parse_golden_set

GOOD = {"id": "q1", "question": "When?", "evidence": [{"uri": "a.md", "quote": "At eight."}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.golden.jsonl"


def line(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def test_a_golden_set_is_lines_of_questions_and_empty_lines_are_skipped(file: Path) -> None:
    file.write_text(f"\n{line()}\n   \n{line(id='q2', evidence=[], slice='unanswerable', answer='No.')}\n\n")
    one, other = parse_golden_set(file).questions
    assert (one.id, one.evidence[0].uri, one.evidence[0].quote, one.slice) == ("q1", "a.md", "At eight.", "questions")
    assert (other.id, other.evidence, other.slice, other.answer) == ("q2", (), "unanswerable", "No.")


def test_a_line_may_hold_what_other_programs_take_for_line_ends(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "question": "When\u2028or\x85where?"}, ensure_ascii=False))
    assert parse_golden_set(file).questions[0].question == "When\u2028or\x85where?"


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        ("{not json", "Invalid JSON"),
        ("[1]", "line: .*object"),
        ('{"id": "q2"}', "question: Field required"),
        (line(id=""), "id: "),
        (line(id="two\nlines"), "id: "),
        (line(id="q2", slice="nul\0"), "slice: "),
        (line(id="q2", evidence=[{"uri": "nul\0", "quote": "abc"}]), r"evidence\.0\.uri: "),
        (line(id="q2", question=""), "question: "),
        (line(id="q2", questoin="When?"), "questoin: Extra inputs"),
        (line(id="q2", evidence=[{"uri": "a.md"}]), r"evidence\.0\.quote: Field required"),
        (line(id="q2", evidence=[{"uri": "a.md", "quote": "a"}]), r"evidence\.0\.quote: .*at least 3"),
        (line(id="q2", evidence=[{"uri": "a.md", "quote": "abc", "chunk": 1}]), r"evidence\.0\.chunk: Extra inputs"),
        (line(id="q2", slice="all"), "slice: .*choose another name"),
        (line(), "'q1' is used twice"),
    ],
)
def test_a_wrong_line_is_named_with_its_file_and_what_to_do(file: Path, second: str, fault: str) -> None:
    file.write_text(f"{line()}\n\n{second}\n")
    with pytest.raises(ConfigurationError, match=rf"test\.golden\.jsonl, line 3: .*{fault}") as wrong:
        parse_golden_set(file)
    assert str(wrong.value).endswith(("Correct the line.", "Rename one."))
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("text", ["", "\n\n", line(evidence=[])])
def test_without_evidence_nothing_can_be_measured(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"test\.golden\.jsonl contains no question with evidence\. Add some"):
        parse_golden_set(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfd"])
def test_a_file_that_cannot_be_read_is_named_with_the_key_that_names_it(file: Path, content: bytes | None) -> None:
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"test\.golden\.jsonl: .*Correct evaluation\.golden_set\."):
        parse_golden_set(file)


def test_a_changed_question_changes_the_fingerprint_and_white_space_does_not(file: Path) -> None:
    fingerprints = []
    for text in (line(), f"\n {line()}\n", line(question="Where?")):
        file.write_text(text)
        fingerprints.append(parse_golden_set(file).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_missing_golden_set_is_none_only_where_it_is_optional(file: Path) -> None:
    def kb(**evaluation: Any) -> KnowledgeBase:
        source = FolderSource(path=file.parent)
        return KnowledgeBase(name="test", title="Test", sources=(source,), evaluation=Evaluation(**evaluation))

    assert load_golden_set(kb()) is None
    assert load_golden_set(kb(golden_set=file, optional=True)) is None
    with pytest.raises(ConfigurationError, match="Cannot read the golden set"):
        load_golden_set(kb(golden_set=file))
    file.write_text("{")
    with pytest.raises(ConfigurationError, match="line 1"):
        load_golden_set(kb(golden_set=file, optional=True))
