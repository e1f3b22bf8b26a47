"""Files below a folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, MutableSequence
from operator import attrgetter

from mindset.errors import DocumentRejected, SourceUnavailable
from mindset.knowledge_base import FolderSource
from mindset.sources.globs import Globs
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
        include, exclude = Globs.of(self._source.include), Globs.of(self._source.exclude)
        found: MutableSequence[Listed] = []
        self._walk(found, str(root), "", include, exclude, ())
        if not found:
            raise SourceUnavailable(
                f"Folder {root} holds no file that matches {', '.join(self._source.include)}. "
                "Nothing was changed; check the path, the globs and the mount."
            )
        yield from sorted(found, key=attrgetter("uri"))

    def _walk(
        self,
        found: MutableSequence[Listed],
        folder: str,
        prefix: str,
        include: Globs,
        exclude: Globs,
        above: tuple[tuple[int, int], ...],
    ) -> None:
        """Add what is matched below a folder. One that may hold documents and cannot be listed raises SourceUnavailable:
        its documents would look deleted. `above` are the folders on the way here, against links in a circle."""
        try:
            with os.scandir(folder) as entries:
                here = list(entries)
        except FileNotFoundError:
            return  # deleted a moment ago
        except OSError as unreadable:
            raise SourceUnavailable(
                f"Folder {_printable(folder)} cannot be listed: {unreadable.strerror}. Nothing was changed. "
                "Correct its rights or its mount, or exclude it (`exclude: [folder/**]`)."
            ) from None
        for entry in here:
            if _is_folder(entry):
                inside, outside = include.below(entry.name), exclude.below(entry.name)
                if inside.patterns and not outside.everything and (identity := _identity(entry)) not in above:
                    self._walk(found, entry.path, f"{prefix}{entry.name}/", inside, outside, (*above, identity))
            elif include.match(entry.name) and not (exclude.patterns and exclude.match(entry.name)):
                found.append(_listed(f"{prefix}{entry.name}", entry))

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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nothing can be looked at
        return False


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    if not entry.is_symlink():
        return 0, entry.inode()
    found = entry.stat()
    return found.st_dev, found.st_ino


def _listed(path: str, entry: os.DirEntry[str]) -> Listed:
    if (uri := _printable(path)) != path:
        return Listed(uri, "unnamed", 0, "Its name is not UTF-8. Rename it.")
    try:
        found = entry.stat()
    except OSError:  # a dangling link, or gone since: listed all the same, so that `fetch` can say why
        return Listed(path, "unreadable", 0)
    if not stat.S_ISREG(found.st_mode):
        return Listed(path, "special", 0, "It is no regular file but a device, pipe or socket. Leave it out.")
    return Listed(path, f"{found.st_mtime_ns}-{found.st_size}", found.st_size)


def _printable(path: str) -> str:
    """A path with `%E9` for each byte that is not UTF-8, which nothing but the file system would take."""
    return path if path.isascii() else re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", path)
