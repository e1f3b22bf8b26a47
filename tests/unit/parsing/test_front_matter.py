"""Tests of front matter."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter


def test_front_matter_is_separated_from_the_text() -> None:
    front, text = front_matter.split("---\ntitle: Ferries\ntags: [sea, port]\nyear: 2026\n---\n# Text\n")
    assert text == "# Text\n"
    assert front_matter.title(front) == "Ferries"
    assert front_matter.metadata(front) == {"tags": ["sea", "port"], "year": 2026}


@pytest.mark.parametrize(
    "text",
    [
        "No block at all.",
        "Text first.\n---\ntitle: no\n---\n",
        "---\nonly opened\n",
        "---\nProse between two rulers.\n---\nMore.",
        "----\ntitle: four dashes\n----\n",
        "---\n\nNote: a ruler, and prose below a blank line.\n",
        "---\n# A heading\n\nText.",
    ],
)
def test_text_that_resembles_front_matter_is_kept(text: str) -> None:
    assert front_matter.split(text) == ({}, text)


@pytest.mark.parametrize("block", ["---js\nconst title = 1;\n---\n", "---\n---\n", "---\n# only a comment\n---\n"])
def test_block_without_yaml_values_is_removed(block: str) -> None:
    assert front_matter.split(f"{block}Text.") == ({}, "Text.")


def test_dates_are_converted_to_text_and_nested_values_are_dropped() -> None:
    front, _ = front_matter.split("---\ndate: 2026-11-24\nauthor: {name: A}\nmatrix: [[1]]\nempty:\n---\n")
    assert front_matter.metadata(front) == {"date": "2026-11-24"}


@pytest.mark.parametrize(
    "text",
    [
        "---\nacl: [staff]\n...\nText.",
        "\n \n---\nacl: [staff]\n---\nText.",
        "---\nACL: [staff]\n---\nText.",
        '---\n"Acl ": staff\n---\nText.',
    ],
)
def test_acl_is_recognized_in_every_notation(text: str) -> None:
    front, rest = front_matter.split(text)
    assert front_matter.acl(front) == ("staff",)
    assert front_matter.metadata(front) == {}
    assert rest == "Text."


@pytest.mark.parametrize(
    "text",
    [
        "---\nacl: [staff]\n",
        "---\nacl: [staff]\n\nText.\n----\n",
        "---\nacl:\n  - staff\n ---\nText.",
        "\n---\n# who may read\n'ACL': staff\nText.",
        "---yaml\ntitle: Ferries\nText.",
    ],
)
def test_unclosed_front_matter_is_rejected(text: str) -> None:
    with pytest.raises(DocumentRejected, match=r"is not closed\. End it with"):
        front_matter.split(text)


def test_duplicate_acl_is_rejected() -> None:
    with pytest.raises(DocumentRejected, match="contains `acl` twice"):
        front_matter.split("---\nacl: [staff]\nACL: ['*']\n---\n")
    with pytest.raises(DocumentRejected, match="contains `acl` twice"):
        front_matter.split("---\nacl: [staff]\ntitle: Bread\nacl: ['*']\n---\n")


@pytest.mark.parametrize("number", ["0x" + "F" * 4_000, "0b" + "1" * 70, "9" * 5_000, str(2**63)])
@pytest.mark.parametrize("block", ["x: {}", "{}: x", "acl: {}", "x: [{}]"])
def test_integer_over_64_bits_is_rejected(block: str, number: str) -> None:
    with pytest.raises(DocumentRejected, match="The front matter is not valid YAML"):
        front_matter.split(f"---\n{block.format(number)}\n---\nText.")


@pytest.mark.parametrize("title", ["''", "7", "[a]", "' '", "null"])
def test_title_that_is_not_a_string_is_ignored(title: str) -> None:
    assert front_matter.title(front_matter.split(f"---\ntitle: {title}\n---\n")[0]) is None


@pytest.mark.parametrize(("value", "expected"), [("staff", ("staff",)), ("[b, a, b]", ("a", "b"))])
def test_acl_is_a_name_or_a_list_of_names(value: str, expected: tuple[str, ...]) -> None:
    assert front_matter.acl(front_matter.split(f"---\nacl: {value}\n---\n")[0]) == expected


@pytest.mark.parametrize("value", ["7", "[]", "''", "[staff, 7]", "{a: b}", "null", "['']"])
def test_acl_that_is_not_a_list_of_names_is_rejected(value: str) -> None:
    with pytest.raises(DocumentRejected, match=r"`acl` in the front matter is .* such as \[staff\]\."):
        front_matter.acl(front_matter.split(f"---\nacl: {value}\n---\n")[0])


def test_document_without_acl_has_none() -> None:
    assert front_matter.acl({}) is None


@pytest.mark.parametrize(
    "block",
    [
        "title: [unclosed",
        "a: b: c",
        "date: 2026-99-99",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: !!int ''",
        "a: !!python/object:os.system {}",
        "? [a]\n: b",
        "a: " + "[" * 5_000,
        "a: &a [x]\nb: [*a, *a]",
        "a: &a [*a]",
    ],
)
def test_malformed_yaml_is_rejected(block: str) -> None:
    with pytest.raises(DocumentRejected, match=r"^The front matter is not valid YAML: .* Correct it\.$"):
        front_matter.split(f"---\n{block}\n---\nText.")


def test_invisible_characters_and_non_json_numbers_are_dropped() -> None:
    front, _ = front_matter.split(
        '---\ntitle: "a\\0b\\u200bc\\ud800"\nacl: ["x\\0"]\nn: .nan\ni: [.inf]\n"k\\0": 1\n---\n'
    )
    assert front_matter.title(front) == "abc"
    assert front_matter.acl(front) == ("x",)
    assert front_matter.metadata(front) == {"k": 1}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}!&*'\"|>?%@ \n#,0.~\\", max_size=40))
def test_any_block_is_parsed_or_rejected(block: str) -> None:
    try:
        front, _ = front_matter.split(f"---\n{block}\n---\nText.")
        front_matter.title(front)
        json.dumps(front_matter.metadata(front), allow_nan=False)
        front_matter.acl(front)
    except DocumentRejected as rejected:
        assert str(rejected).endswith(".")
