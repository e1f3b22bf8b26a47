"""What a folder lists: as Python's own glob, in one walk."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mindset.config.build_options import FolderSource
from mindset.errors import SourceUnavailable
from mindset.sources.folder import Folder

FILES = (
    "a.md", "b.txt", ".hidden.md", "guides/a.md", "guides/b.txt", "guides/north/pier.md", "guides/north/.draft.md",
    "guides/south/old/a.md", ".git/config.md", "drafts/a.md", "drafts/deep/b.md", "x.md/inner.md", "[odd].md",
)  # fmt: skip

PARTS = st.sampled_from(
    ["**", "*", "*.md", "*.txt", "guides", "north", "drafts", "?.md", ".*", "[ab].md", "x.md", "[[]odd[]].md"]
)
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for each in FILES:
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        (root / each).write_text(each)
    return root


def listed(root: Path, *include: str, exclude: tuple[str, ...] = ()) -> set[str]:
    try:
        return {each.uri for each in Folder(FolderSource(path=root, include=include, exclude=exclude)).list()}
    except SourceUnavailable:
        return set()


@settings(max_examples=300, deadline=None)
@given(include=st.lists(PATTERNS, min_size=1, max_size=3), exclude=st.lists(PATTERNS, max_size=2))
def test_what_is_listed_is_what_glob_finds(tree: Path, include: list[str], exclude: list[str]) -> None:
    def globbed(patterns: list[str]) -> set[str]:
        found = {Path(path).as_posix() for each in patterns for path in glob.iglob(each, root_dir=tree, recursive=True)}
        return {each for each in found if (tree / each).is_file()}

    # Of a folder that is left out as a whole, hidden files are left out too, which glob's `**` would not match.
    left_out = {each for each in globbed(include) - globbed(exclude) if "/." in f"/{each}"}
    found = listed(tree, *include, exclude=tuple(exclude))
    assert found - left_out == globbed(include) - globbed(exclude) - left_out
    assert found <= globbed(include)


def test_a_link_to_a_folder_is_followed_within_the_source_and_not_in_a_circle(tmp_path: Path) -> None:
    for each in ("root/a/one.md", "root/b/two.md", "other/three.md"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(each)
    (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "root" / "b")
    (tmp_path / "root" / "a" / "circle").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "a" / "top").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "outside").symlink_to(tmp_path / "other")
    found = {each.uri: each.rejection for each in Folder(FolderSource(path=tmp_path / "root")).list()}
    assert {uri for uri, refused in found.items() if not refused} == {"a/one.md", "b/two.md", "a/link/two.md"}
    assert "stands in" in str(found["a/circle"]) and "stands in" in str(found["a/top"])
    assert "leaves the folder" in str(found["outside"])


def test_links_that_cross_are_followed_once(tmp_path: Path) -> None:
    for each in ("a", "b"):
        (tmp_path / each).mkdir()
        (tmp_path / each / "one.md").write_text(each)
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "a")
    found = {each.uri: each.rejection for each in Folder(FolderSource(path=tmp_path)).list()}
    assert {uri for uri, refused in found.items() if not refused} == {
        "a/one.md",
        "b/one.md",
        "a/x/one.md",
        "b/y/one.md",
    }
    assert {uri for uri, refused in found.items() if refused} == {"a/x/y", "b/y/x"}


def test_folders_of_the_same_number_on_different_disks_are_both_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "deep.md").write_text("deep")
    real = os.scandir

    class Numbered:
        """An entry as some network disks give it: every inode is the same."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self._entry = entry

        def __getattr__(self, name: str) -> object:
            return (lambda: 4_294_967_295) if name == "inode" else getattr(self._entry, name)

    @contextmanager
    def scandir(path: str) -> Iterator[list[Numbered]]:
        with real(path) as entries:
            yield [Numbered(each) for each in entries]

    monkeypatch.setattr(os, "scandir", scandir)
    assert listed(tmp_path, "**/*.md") == {"a/b/c/deep.md"}


@pytest.mark.parametrize("pattern", ["./drafts/**", "drafts//**", "drafts/./**"])
def test_dots_and_double_slashes_in_a_pattern_mean_nothing(tree: Path, pattern: str) -> None:
    assert listed(tree, "**/*.md", exclude=(pattern,)) == listed(tree, "**/*.md", exclude=("drafts/**",))


@pytest.mark.parametrize("pattern", ["", "/etc/*.md", "../*.md", "a/../b.md", "drafts/"])
def test_a_pattern_that_leaves_the_folder_is_refused_when_the_definition_is_read(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValidationError, match="no glob of files below the folder"):
        FolderSource(path=tmp_path, exclude=(pattern,))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (found,) = Folder(FolderSource(path=tmp_path)).list()
    assert found.rejection
    assert "pipe" in found.rejection


def test_a_linked_folder_that_cannot_be_listed_stops_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.md").write_text("a")
    (tmp_path / "root" / "other").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "other")
    real = os.scandir

    def scandir(path: str) -> os._ScandirIterator[str]:
        if Path(path).name == "link":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceUnavailable, match="link cannot be listed: Permission denied"):
        list(Folder(FolderSource(path=tmp_path / "root")).list())
