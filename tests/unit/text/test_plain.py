"""Tests of the rendering of Markdown as plain text."""

from __future__ import annotations

import html
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.text.plain import plain_text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Heading {#anchor}", "Heading"),
        ("**bold**, *thin*, __both__, _under_ and `code`", "bold, thin, both, under and code"),
        ("a snake_case_name and 2 * 3 * 4, 2**16 and a ** b", "a snake_case_name and 2 * 3 * 4, 2**16 and a ** b"),
        ("see [the guide](https://example.org/a_b) and ![a map](map.png)", "see the guide and a map"),
        ("- one\n- two\n\n> three", "one\ntwo\nthree"),
        ("3. one\n4. two", "3. one\n4. two"),
        ("a <!-- hidden\nnote --> b <br/> c", "a b\nc"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <!-- never closed, and {% neither", "a <!-- never closed, and {% neither"),
        ("[a] [b [c](d) ![e](f", "[a] [b c ![e](f"),
        ("| a | b |\n|---|---|\n| 1 | **2** |", "a | b\n1 | 2"),
        ("one  \ntwo\\\nthree", "one\ntwo\nthree"),
    ],
)
def test_markup_is_left_out_and_words_are_kept(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("Open `__main__` with `2**8` and `row[3]`.", "Open __main__ with 2**8 and row[3]."),
        ("```sh\n  rm **/x  [1]\n\n  # <all>\n```", "rm **/x  [1]\n\n  # <all>"),
        ("Text\n\n    indented *code* &amp;", "Text\nindented *code* &amp;"),
        ("write `&lt;` for &lt;", "write &lt; for <"),
        ("once: &amp;lt;", "once: &lt;"),
    ],
)
def test_code_is_kept_and_entities_are_decoded_once(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        (
            "mail <ann@example.org> or see <https://example.org/a?b=1>",
            "mail ann@example.org or see https://example.org/a?b=1",
        ),
        ("run lift <floor> --door <side>", "run lift <floor> --door <side>"),
        ("a Map<String, List<Deck>> and an Option<T>", "a Map<String, List<Deck>> and an Option<T>"),
        ("a Set<A> of std::list<Rope*>", "a Set<A> of std::list<Rope*>"),
        ("name it <title> <address>", "name it <title> <address>"),
        ('the line <owner id="1">port</owner>', 'the line <owner id="1">port</owner>'),
        ('a <b>bold</b> <span class="x">word</span>, H<sub>2</sub>O', "a bold word, H2O"),
        ("<div>\n<p>Hello <b>you</b> &amp; <deck-number></p>\n<!-- no -->\n</div>", "Hello you & <deck-number>"),
        ("<pre>\na\n  b\n</pre>", "a\n  b"),
        ("<script>\nalert(1)\n</script>", ""),
    ],
)
def test_placeholders_and_addresses_are_text_and_html_is_markup(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("It was built in 1702 [4].", "It was built in 1702."),
        ("It was built in 1702.[4] Then it burned.", "It was built in 1702. Then it burned."),
        ("It burned[^2], and[^fire] again.\n\n[^2]: In the summer.", "It burned, and again.\nIn the summer."),
        ("It burned [2](sources.md), twice [[3]](#three).", "It burned, twice."),
        ("It burned [2] twice.\n\n[2]: https://example.org", "It burned twice."),
        (
            "Take argv[1], masts[2] or element [2] of it, one of [1-5].",
            "Take argv[1], masts[2] or element [2] of it, one of [1-5].",
        ),
        ("Classes [^a-z] and [^0-9].", "Classes [^a-z] and [^0-9]."),
        ("In [2023](report.md) we took bus [12](bus.md) home.", "In 2023 we took bus 12 home."),
    ],
)
def test_only_reference_marks_are_left_out(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("{% include menu.html %}\ntext {{ page.title }}\n{: .note}", "text {{ page.title }}"),
        ("write {% raw %} before {{ it }}", "write {% raw %} before {{ it }}"),
        ("[a b]({{ '/a b' | url }}) and `[x]({{ y z }})`", "a b and [x]({{ y z }})"),
        ("a set {#x} of {.y}", "a set {#x} of {.y}"),
    ],
)
def test_template_tags_are_markup_only_where_they_stand_alone(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


def test_part_that_begins_in_a_code_block_is_code() -> None:
    assert plain_text("def __init__(self):\n    x = a[1] * b * c\n```") == "def __init__(self):\n    x = a[1] * b * c"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="`\r\0\n"), min_size=1).filter(
        lambda code: code.strip() == code
    )
)
def test_code_span_is_kept_whatever_it_contains(code: str) -> None:
    assert plain_text(f"Run ``{code}`` now") == f"Run {code} now"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
def test_escaped_text_is_shown_as_written(text: str) -> None:
    source = "".join(
        f"\\{character}" if character.isascii() and not character.isalnum() else character for character in text
    )
    assert plain_text(f"x{source}x") == html.unescape(f"x{text}x") or "[" in text


@pytest.mark.parametrize(
    "opening",
    ["<!--", "{%", "[", "![", "[a](", "{#", "<a", "<a b='", "<?", " ", "\n", "`", "*", "# ", "[1]", "{%\n", "[1] \n"],
)
@pytest.mark.parametrize("before", ["x", "<div>"])
def test_unclosed_markup_takes_linear_time(opening: str, before: str) -> None:
    started = time.process_time()
    plain_text(f"{before}{opening * (50_000 // len(opening))}x")
    assert time.process_time() - started < 5
