"""Tests of front matter."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter
from mindset.parsing.registry import parse
from mindset.text.normalization import decode


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
def test_acl_is_recognized_in_any_spelling(text: str) -> None:
    front, rest = front_matter.split(text)
    assert front_matter.acl(front) == ("staff",)
    assert front_matter.metadata(front) == {}
    assert rest == "Text."


NOTATIONS = {
    "toml": '+++\nacl = ["staff"]\n+++\n',
    "toml with other keys": "+++ \ntitle = 'Pay'\nacl = 'staff'\n[params]\na = 1\n+++\n",
    "toml between dashes": '---toml\nacl = ["staff"]\n---\n',
    "toml after a space": '--- TOML\nacl = ["staff"]\n---\n',
    "quoted key in toml": '+++\n"ACL" = ["staff"]\n+++\n',
    "json": '{"acl": ["staff"]}\n',
    "json on several lines": '{\n  "title": "Pay",\n  "acl": [\n    "staff"\n  ]\n}\n',
    "escaped key in json": '{"\\u0061cl": "staff"}\n',
    "json between dashes": '---json\n{"acl": ["staff"]}\n---\n',
    "json in yaml": '---\n{"acl": ["staff"]}\n---\n',
    "json between semicolons": ';;;\n{"acl": ["staff"]}\n;;;\n',
    "json without braces": ';;;\n"acl": ["staff"]\n;;;\n',
    "comment behind the mark": "--- # who\nacl: [staff]\n--- # end\n",
    "language and comment": "---yaml # who\nacl: [staff]\n---\n",
    "space behind the marks": "---  \t\nacl: [staff]\n---\u00a0\n",
    "no-break space above": "\u00a0\n\u2003\n---\u00a0\nacl: [staff]\n---\n",
    "comment above": "<!-- lint\n off -->\n\n---\nacl: [staff]\n---\n",
    "comment above json": '<!-- lint off -->\n{"acl": ["staff"]}\n',
    "comment above toml": '<!-- a --><!-- b -->\n+++\nacl = ["staff"]\n+++\n',
    "doctype above": "<!DOCTYPE html>\n---\nacl: staff\n---\n",
    "directive above": "%YAML 1.2\n---\nacl: staff\n---\n",
    "indented": "  ---\n  acl: [staff]\n  ---\n",
    "blank line inside": "---\n\nacl: [staff]\n---\n",
    "full width": "---\n\uff41\uff43\uff4c: [staff]\n---\n",
    "hidden character": "---\nac\u200bl: [staff]\n---\n",
    "names in a block": "---\nacl: |\n  staff\n---\n",
    "tagged": "---\n!!map {acl: [staff]}\n---\n",
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("notation", NOTATIONS)
def test_acl_is_read_in_every_notation(notation: str, mark: str, line_end: str) -> None:
    raw = (mark + NOTATIONS[notation] + "Text.").replace("\n", line_end).encode()
    front, rest = front_matter.split(decode(raw))
    assert front_matter.acl(front) == ("staff",)
    assert rest == "Text."


@pytest.mark.parametrize(
    "text",
    [
        "---js\nmodule.exports = { acl: ['staff'] }\n---\n",
        "---json5\n{acl: ['staff']}\n---\n",
        "---\nacl = ['staff']\n---\n",
        "---\n- acl: [staff]\n---\n",
        "---\nparams:\n  acl: [staff]\n---\n",
        "---\npages: [{acl: [staff]}]\n---\n",
        "---\nparams.acl: [staff]\n---\n",
        "---\nacls: [staff]\n---\n",
        "---\nacl_: [staff]\n---\n",
        "---\nA.C.L: [staff]\n---\n",
        "---\npageAcl: [staff]\n---\n",
        "---\n<<: {acl: [staff]}\n---\n",
        "---\nProse: a: b\n\nacl: staff\n---\n",
        "--- {title: Pay, acl: [staff]}\n---\n",
        "----\nacl: [staff]\n----\n",
        "***\ntitle: Pay\n\nacl: [staff]\n***\n",
        "===\nacl: [staff]\n===\n",
        "\u2013\u2013\u2013\nacl: [staff]\n\u2013\u2013\u2013\n",
        "title: Pay\nacl: staff, board\n\n",
        ":acl: staff\n\n",
        "#+ACL: staff\n\n",
        "+++\nacl: [staff]\n+++\n",
        "+++\n[params]\nacl = 'staff'\n+++\n",
        "+++\nacl = 'staff'\nACL = '*'\n+++\n",
        "+++\nacl = 'staff'\nacl = '*'\n+++\n",
        "+++\nacl = 'staff'\n",
        ";;;\nacl: [staff]\n;;;\n",
        '{"acl": ["staff"], "ACL": ["*"]}\n',
        '{"acl": ["staff"],}\n',
        "{\n  title: 'Pay',\n\n  acl: ['staff'] // who\n}\n",
        '{"params": {"acl": ["staff"]}}\n',
        '{"acl": ["staff"]} and more\n',
        '{\n "title": "Pay",\n "acl": ["staff"]\n\n',
        "<!-- acl: [staff] -->\n",
        "<!--\n---\nacl: [staff]\n---\n-->\n",
        "<!-- never closed\nacl: [staff]\n",
        "---\nacl: [staff]\n ---\n",
        "---yaml\n\ntext\n",
    ],
)
def test_rights_in_a_form_that_is_not_read_are_rejected(text: str) -> None:
    with pytest.raises(DocumentRejected, match=r"\.$"):
        front_matter.acl(front_matter.split(f"{text}Text.\n")[0])


@pytest.mark.parametrize(
    "text",
    [
        '{"amount": 7, "currency": "EUR"}\n\nis the smallest request.',
        '{\n  "amount": 7,\n  ...\n}\n\nis a request.',
        "{{< note >}}\nText.\n{{< /note >}}",
        "{% include acl.html %}\nText.",
        "{: .lead}\nText.",
        "---\n\nNote: a colon: and another.\n\n---\n\nMore.",
        "---\nDear reader: this is: prose.\n---\nMore.",
        "---cut---\nText.",
        "--- a/file.py\n+++ b/file.py\n@@ -1 +1 @@\n",
        "+++\nAdded.\n+++\nMore.",
        ";;; Commentary\nText.",
        "***\n\nText: with a colon.\n\n***\n",
        "<!-- lint off -->\n\nText.",
        "- acl and other lists\n- more",
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    assert front_matter.split(text) == ({}, text)


_WORDS = st.sampled_from(
    ["ferries", "Note", "see: also", "a: b: c", "oracle", "the acl", "{x}", "[y]", "`acl: [a]`", "#1"]
)
_PARAGRAPHS = st.lists(st.lists(_WORDS, min_size=1, max_size=4).map(lambda words: "The " + " ".join(words)), max_size=5)


@settings(max_examples=300, deadline=None)
@given(_PARAGRAPHS, _PARAGRAPHS)
def test_prose_between_thematic_breaks_is_never_rejected(above: list[str], below: list[str]) -> None:
    text = "\n\n".join(["---", *above, "---", "End.", *below])
    front, rest = front_matter.split(text)
    assert front_matter.acl(front) is None
    assert "End." in rest


_VALUES = st.sampled_from(
    ["[staff]", '["staff"]', "staff", "'staff'", "staff, board", "\n  - staff", "*x", "7", "", "{a: b}"]
)
_MARKS = st.sampled_from(
    ["---", "+++", ";;;", "---yaml", "---toml", "--- # x", "---\u00a0", " ---", "----", "***", "~~", "==="]
)
_LINES = st.lists(
    st.sampled_from(["title: Pay", "title = 'Pay'", '"a": 1,', "# c", "- x", "t: a: b", "[p]", "date: 2026-01-01"]),
    max_size=3,
)


@settings(max_examples=1_000, deadline=None)
@given(
    above=st.sampled_from(["", "\n", "<!-- x -->\n", "\u00a0\n", "\ufeff", "\t\n"]), mark=_MARKS, before=_LINES,
    key=st.sampled_from(["acl", "ACL", '"acl"', "'Acl'", " acl"]), sign=st.sampled_from([": ", " = ", ":"]),
    value=_VALUES, after=_LINES, end=st.sampled_from(["---", "+++", ";;;", "----", "***", "~~", "===", "...", ""]),
)  # fmt: skip
def test_stated_rights_are_never_ignored(
    above: str, mark: str, before: list[str], key: str, sign: str, value: str, after: list[str], end: str
) -> None:
    block = "\n".join([*before, f"{key}{sign}{value}", *after])
    try:
        parsed = parse("a.md", f"{above}{mark}\n{block}\n{end}\n\nText.\n".encode())
    except DocumentRejected:
        return
    assert parsed.acl is not None


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("staff", ("staff",)),
        ("[b, a, b]", ("a", "b")),
        ("staff, board", ("board", "staff")),
        ("'staff,'", ("staff",)),
        ("[' staff ']", ("staff",)),
    ],
)
def test_acl_is_a_name_or_a_list_of_names(value: str, expected: tuple[str, ...]) -> None:
    assert front_matter.acl(front_matter.split(f"---\nacl: {value}\n---\n")[0]) == expected


@pytest.mark.parametrize("value", ["7", "[]", "''", "[staff, 7]", "{a: b}", "null", "['']", "','", "[[a]]", "true"])
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
