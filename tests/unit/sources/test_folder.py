"""Tests of folder sources. They list the files that Python's own glob finds."""

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
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)
    return root


def listed(root: Path, *include: str, exclude: tuple[str, ...] = ()) -> set[str]:
    try:
        return {entry.uri for entry in Folder(FolderSource(path=root, include=include, exclude=exclude)).list()}
    except SourceUnavailable:
        return set()


@settings(max_examples=300, deadline=None)
@given(include=st.lists(PATTERNS, min_size=1, max_size=3), exclude=st.lists(PATTERNS, max_size=2))
def test_listing_equals_the_result_of_glob(tree: Path, include: list[str], exclude: list[str]) -> None:
    def globbed(patterns: list[str]) -> set[str]:
        paths = {
            Path(path).as_posix() for pattern in patterns for path in glob.iglob(pattern, root_dir=tree, recursive=True)
        }
        return {path for path in paths if (tree / path).is_file()}

    # In a folder that is excluded as a whole, hidden files are excluded too, which glob's `**` would not match.
    hidden = {path for path in globbed(include) - globbed(exclude) if "/." in f"/{path}"}
    uris = listed(tree, *include, exclude=tuple(exclude))
    assert uris - hidden == globbed(include) - globbed(exclude) - hidden
    assert uris <= globbed(include)


def test_folder_link_is_followed_within_the_source_but_not_into_a_cycle(tmp_path: Path) -> None:
    for file in ("root/a/one.md", "root/b/two.md", "other/three.md"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "root" / "b")
    (tmp_path / "root" / "a" / "cycle").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "a" / "top").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "outside").symlink_to(tmp_path / "other")
    rejections = {entry.uri: entry.rejection for entry in Folder(FolderSource(path=tmp_path / "root")).list()}
    assert {uri for uri, rejection in rejections.items() if not rejection} == {"a/one.md", "b/two.md", "a/link/two.md"}
    assert "parent folders" in str(rejections["a/cycle"]) and "parent folders" in str(rejections["a/top"])
    assert "leaves the folder" in str(rejections["outside"])


def test_links_between_two_folders_are_followed_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.md").write_text(folder)
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "a")
    rejections = {entry.uri: entry.rejection for entry in Folder(FolderSource(path=tmp_path)).list()}
    assert {uri for uri, rejection in rejections.items() if not rejection} == {
        "a/one.md",
        "b/one.md",
        "a/x/one.md",
        "b/y/one.md",
    }
    assert {uri for uri, rejection in rejections.items() if rejection} == {"a/x/y", "b/y/x"}


def test_folders_with_equal_inode_numbers_are_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "deep.md").write_text("deep")
    original_scandir = os.scandir

    class EntryWithInode:
        """An entry as on some network file systems, where all inode numbers are equal."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self._entry = entry

        def __getattr__(self, name: str) -> object:
            return (lambda: 4_294_967_295) if name == "inode" else getattr(self._entry, name)

    @contextmanager
    def scandir(path: str) -> Iterator[list[EntryWithInode]]:
        with original_scandir(path) as entries:
            yield [EntryWithInode(entry) for entry in entries]

    monkeypatch.setattr(os, "scandir", scandir)
    assert listed(tmp_path, "**/*.md") == {"a/b/c/deep.md"}


@pytest.mark.parametrize("pattern", ["./drafts/**", "drafts//**", "drafts/./**"])
def test_dots_and_double_slashes_in_a_pattern_are_ignored(tree: Path, pattern: str) -> None:
    assert listed(tree, "**/*.md", exclude=(pattern,)) == listed(tree, "**/*.md", exclude=("drafts/**",))


@pytest.mark.parametrize("pattern", ["", "/etc/*.md", "../*.md", "a/../b.md", "drafts/"])
def test_pattern_that_leaves_the_folder_is_rejected_with_the_definition(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValidationError, match="is not a glob of files below the folder"):
        FolderSource(path=tmp_path, exclude=(pattern,))


def test_pipe_is_rejected_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (entry,) = Folder(FolderSource(path=tmp_path)).list()
    assert entry.rejection
    assert "pipe" in entry.rejection


def test_linked_folder_that_cannot_be_listed_makes_the_source_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.md").write_text("a")
    (tmp_path / "root" / "other").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "other")
    original_scandir = os.scandir

    def scandir(path: str) -> os._ScandirIterator[str]:
        if Path(path).name == "link":
            raise PermissionError(13, "Permission denied", path)
        return original_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceUnavailable, match="link cannot be listed: Permission denied"):
        list(Folder(FolderSource(path=tmp_path / "root")).list())
