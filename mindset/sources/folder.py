"""Files below a folder."""

from __future__ import annotations

import glob
from collections.abc import Iterator
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
        found = self._matching(self._source.include) - self._matching(self._source.exclude)
        files = [path for path in sorted(found) if not (root / path).is_dir()]
        if not files:
            raise SourceUnavailable(
                f"Folder {root} holds no file that matches {', '.join(self._source.include)}. "
                "Nothing was changed; check the path, the globs and the mount."
            )
        for path in files:
            yield self._stat(path)

    def fetch(self, listed: Listed) -> bytes:
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

    def _matching(self, patterns: tuple[str, ...]) -> set[str]:
        matches = (glob.iglob(each, root_dir=self._source.path, recursive=True) for each in patterns)
        return {Path(path).as_posix() for paths in matches for path in paths}

    def _stat(self, path: str) -> Listed:
        try:
            stat = (self._source.path / path).stat()
        except OSError:  # a dangling link, or gone since: listed all the same, so that `fetch` can say why
            return Listed(path, "unreadable", 0)
        return Listed(path, f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size)
