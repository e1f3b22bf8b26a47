"""Tests of decoding and normalization."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.errors import DocumentRejected
from mindset.text.normalization import decode, normalize


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\f", "\x0b", "\x85", "\u2028", "\u2029"])
def test_every_kind_of_line_end_is_converted_to_a_newline(ending: str) -> None:
    assert decode(f"one{ending}two".encode()) == "one\ntwo"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_mark_is_removed(encoding: str) -> None:
    assert decode("Grüße, 世界 🌍".encode(encoding)) == "Grüße, 世界 🌍"


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_truncated_utf_16_is_rejected(mark: bytes) -> None:
    with pytest.raises(DocumentRejected, match=r"not valid UTF-16.*Save it as UTF-8"):
        decode(mark + b"a\0b")


def test_invalid_utf_8_is_rejected_with_its_position() -> None:
    with pytest.raises(DocumentRejected, match=r"byte 10 \(line 3\)"):
        decode(b"one\ntwo\nth\xfcr")


def test_binary_data_is_rejected() -> None:
    with pytest.raises(DocumentRejected, match="binary data"):
        decode(b"text\0and more")


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\ufe0f", "\U000e0041", "\x07"])
def test_invisible_characters_are_removed(hidden: str) -> None:
    assert normalize(f"pay{hidden}ment") == "payment"


def test_tabs_accents_and_joined_scripts_are_kept() -> None:
    assert normalize("a\tb\ncafe\u0301 한국어 עברית") == "a\tb\ncafe\u0301 한국어 עברית"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters()))
def test_normalized_text_can_be_stored_and_normalization_is_idempotent(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert "\0" not in once
    assert "\r" not in once
    once.encode()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_rejected(raw: bytes) -> None:
    try:
        decode(raw).encode()
    except DocumentRejected as rejected:
        assert str(rejected).endswith(".")
