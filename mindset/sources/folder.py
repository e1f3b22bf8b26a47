"""Files below a folder."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mindset.errors import DocumentRejected, SourceUnavailable
from mindset.knowledge_base import FolderSource
from mindset.sources.protocol import Listed


class Folder:
    """The files that a folder source's globs match; a URI is the path below the folder, with `/`."""

    def __init__(self, source: FolderSource) -> None:
        self._source = source

    def list(self) -> Iterator[Listed]:
        root = self._source.path
        if not root.is_dir():
            raise SourceUnavailable(
                f"Folder {root} does not exist. Correct `path` in the knowledge base's YAML, or mount it."
            )
        self._check_folders()
        found = self._matching(self._source.include) - self._matching(self._source.exclude)
        files = [path for path in sorted(found) if not os.path.isdir(root / path)]  # noqa: PTH112  # raises nothing
        if not files:
            raise SourceUnavailable(
                f"Folder {root} holds no file that matches {', '.join(self._source.include)}. "
                "Nothing was changed; check the path, the globs and the mount."
            )
        for path in files:
            yield self._stat(path)

    def fetch(self, listed: Listed) -> bytes:
        if listed.refused:
            raise DocumentRejected(listed.refused)
        root, file = self._source.path.resolve(), self._source.path / listed.uri
        if listed.size > self._source.max_document_bytes:
            raise DocumentRejected(
                f"{listed.size / 1e6:.0f} MB is more than the {self._source.max_document_bytes / 1e6:.0f} MB allowed. "
                "Split the document, or raise max_document_bytes of its source."
            )
        try:
            if not file.resolve(strict=True).is_relative_to(root):
                raise DocumentRejected("A link that leaves the folder is not followed. Copy the file into the folder.")
            return file.read_bytes()
        except OSError as unreadable:
            raise DocumentRejected(f"Cannot be read: {unreadable.strerror}. Check the file and its rights.") from None

    def _check_folders(self) -> None:
        """Raise SourceUnavailable where a folder that may hold documents cannot be listed.

        `glob` passes over such a folder in silence, and its documents would look deleted."""
        root = self._source.path
        includes = [each.split("/") for each in self._source.include]
        # What ends in `**` leaves out whole folders.
        excludes = [each.removesuffix("/*").split("/") for each in self._source.exclude]
        excludes = [each[:-1] for each in excludes if each[-1] == "**"]

        def leads_to_documents(folder: str) -> bool:
            parts = Path(folder).relative_to(root).parts
            return any(_leads(each, parts) for each in includes) and not any(_covers(each, parts) for each in excludes)

        def refuse(unreadable: OSError) -> None:
            folder = str(unreadable.filename)
            if not isinstance(unreadable, FileNotFoundError) and leads_to_documents(folder):
                raise SourceUnavailable(
                    f"Folder {_printable(folder)} cannot be listed: {unreadable.strerror}. Nothing was changed. "
                    "Correct its rights or its mount, or exclude it (`exclude: [folder/**]`)."
                ) from None

        for folder, below, _ in os.walk(root, onerror=refuse):
            below[:] = [each for each in below if leads_to_documents(os.path.join(folder, each))]  # noqa: PTH118

    def _matching(self, patterns: tuple[str, ...]) -> set[str]:
        matches = (glob.iglob(each, root_dir=self._source.path, recursive=True) for each in patterns)
        return {Path(path).as_posix() for paths in matches for path in paths}

    def _stat(self, path: str) -> Listed:
        if (uri := _printable(path)) != path:
            return Listed(uri, "unnamed", 0, "Its name is not UTF-8. Rename it.")
        try:
            stat = (self._source.path / path).stat()
        except OSError:  # a dangling link, or gone since: listed all the same, so that `fetch` can say why
            return Listed(path, "unreadable", 0)
        return Listed(path, f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size)


def _printable(path: str) -> str:
    """A path with `%E9` for each byte that is not UTF-8, which nothing but the file system would take."""
    return re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", path)


def _leads(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether a file that the pattern matches may stand below the folder."""
    if not pattern:
        return False
    if not folder:
        return True
    if pattern[0] == "**":
        return _leads(pattern[1:], folder) or (_matches("*", folder[0]) and _leads(pattern, folder[1:]))
    return len(pattern) > 1 and _matches(pattern[0], folder[0]) and _leads(pattern[1:], folder[1:])


def _covers(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether the pattern matches the folder or one above it."""
    if not pattern:
        return True
    if not folder:
        return False
    if pattern[0] == "**":
        return _covers(pattern[1:], folder) or (_matches("*", folder[0]) and _covers(pattern, folder[1:]))
    return _matches(pattern[0], folder[0]) and _covers(pattern[1:], folder[1:])


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
