"""What a benchmark says if the texts that it needs are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ingest.corpus import real_sentences
from benchmarks.texts import real_texts


@pytest.mark.parametrize("folder", ["missing", "."])
def test_missing_sentences_are_reported_with_the_option_that_names_them(tmp_path: Path, folder: str) -> None:
    with pytest.raises(SystemExit, match=r"has 0 sentences; at least 1,000 are needed\. .*--source FOLDER"):
        real_sentences([tmp_path / folder])


def test_missing_texts_are_reported_with_the_option_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Title\n\nA sentence of six words here.\n")
    with pytest.raises(SystemExit, match=r"has \d+ texts; 1,000 are needed\. .*--corpus FOLDER"):
        real_texts([tmp_path], 1_000)
