"""Tests of globs."""

from __future__ import annotations

from mindset.sources.globs import Globs, matches_path


def test_case_does_not_matter() -> None:
    globs = Globs.of(["docs/**/*.md"])
    assert globs.below("Docs").below("a").match("README.MD")
    assert not globs.below("Docs").match("README.TXT")


def test_paths_are_matched_as_a_whole() -> None:
    assert matches_path("guide/**", "guide/a/b.md")
    assert not matches_path("guide/*", "guide/a/b.md")
    assert matches_path("**/print.html", "print.html")
