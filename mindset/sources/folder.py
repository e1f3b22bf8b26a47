"""Files below a folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from mindset.config.build_options import FolderSource
from mindset.errors import DocumentRejected, SourceUnavailable
from mindset.sources.globs import Globs
from mindset.sources.protocol import SourceEntry


class Folder:
    """The files that a folder source's globs match; a URI is the path below the folder, with `/`."""

    def __init__(self, source: FolderSource) -> None:
        self._source = source

    def list(self) -> Iterator[SourceEntry]:
        root = self._source.path
        if not root.is_dir():
            raise SourceUnavailable(
                f"Folder {root} does not exist. Correct `path` in the knowledge base's YAML, or mount it."
            )
        include, exclude = Globs.of(self._source.include), Globs.of(self._source.exclude)
        found = sorted(_walk(str(root), "", include, exclude, (root.resolve(),)), key=attrgetter("uri"))
        if not found:
            raise SourceUnavailable(
                f"Folder {root} holds no file that matches {', '.join(self._source.include)}. "
                "Nothing was changed; check the path, the globs and the mount."
            )
        yield from found

    def fetch(self, listed: SourceEntry) -> bytes:
        if listed.rejection:
            raise DocumentRejected(listed.rejection)
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


def _walk(folder: str, prefix: str, include: Globs, exclude: Globs, above: tuple[Path, ...]) -> Iterator[SourceEntry]:
    """What is matched below a folder; `above` is where the way to it really led, from the source's root.

    One that may hold documents and cannot be listed raises SourceUnavailable: its documents would look deleted."""
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
        path = f"{prefix}{entry.name}"
        if _is_folder(entry):
            inside, outside = include.below(entry.name), exclude.below(entry.name)
            if not inside.patterns or outside.everything:
                continue
            real = Path(entry.path).resolve() if entry.is_symlink() else above[-1] / entry.name
            if entry.is_symlink() and (refused := _refused_link(real, above)):
                yield SourceEntry(_printable(path), "link", 0, refused)
            else:
                yield from _walk(entry.path, f"{path}/", inside, outside, (*above, real))
        elif include.match(entry.name) and not (exclude.patterns and exclude.match(entry.name)):
            yield _listed(path, entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nothing can be looked at
        return False


def _refused_link(target: Path, above: tuple[Path, ...]) -> str | None:
    """Why a link to a folder is not followed: it leaves the source, or leads back to a folder that the way to it led through."""
    if not target.is_relative_to(above[0]):
        return "A link that leaves the folder is not followed. Copy what it leads to into the folder, or exclude it."
    if any(each.is_relative_to(target) for each in above):
        return "A link to a folder that it stands in is not followed. Remove it, or exclude it."
    return None


def _listed(path: str, entry: os.DirEntry[str]) -> SourceEntry:
    if (uri := _printable(path)) != path:
        return SourceEntry(uri, "unnamed", 0, "Its name is not UTF-8. Rename it.")
    try:
        found = entry.stat()
    except OSError:  # a dangling link, or gone since: listed all the same, so that `fetch` can say why
        return SourceEntry(path, "unreadable", 0)
    if not stat.S_ISREG(found.st_mode):
        return SourceEntry(path, "special", 0, "It is no regular file but a device, pipe or socket. Leave it out.")
    return SourceEntry(path, f"{found.st_mtime_ns}-{found.st_size}", found.st_size)


def _printable(path: str) -> str:
    """A path with `%E9` for each byte that is not UTF-8, which nothing but the file system would take."""
    return path if path.isascii() else re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", path)
