"""Files in a folder and its subfolders."""

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
    """The files that match the globs of a folder source. Their URIs are paths relative to the folder, with `/`."""

    def __init__(self, source: FolderSource) -> None:
        self._source = source

    def list(self) -> Iterator[SourceEntry]:
        root = self._source.path
        if not root.is_dir():
            raise SourceUnavailable(
                f"Folder {root} does not exist. Correct `path` in the knowledge base's YAML, or mount it."
            )
        include, exclude = Globs.of(self._source.include), Globs.of(self._source.exclude)
        entries = sorted(_walk(str(root), "", include, exclude, (root.resolve(),)), key=attrgetter("uri"))
        if not entries:
            raise SourceUnavailable(
                f"Folder {root} contains no file that matches {', '.join(self._source.include)}. "
                "Nothing was changed. Check the path, the globs and the mount."
            )
        yield from entries

    def fetch(self, entry: SourceEntry) -> bytes:
        if entry.rejection:
            raise DocumentRejected(entry.rejection)
        root, file = self._source.path.resolve(), self._source.path / entry.uri
        limit = self._source.max_document_bytes
        if entry.size > limit:
            raise DocumentRejected(
                f"The file has {entry.size / 1e6:.0f} MB; the maximum is {limit / 1e6:.0f} MB. "
                "Split the document, or raise max_document_bytes of its source."
            )
        try:
            if not file.resolve(strict=True).is_relative_to(root):
                raise DocumentRejected(
                    "A link that leaves the folder is not followed. Copy its target into the folder."
                )
            return file.read_bytes()
        except OSError as error:
            raise DocumentRejected(
                f"The file cannot be read: {error.strerror}. Check that it exists, and its permissions."
            ) from None


def _walk(folder: str, prefix: str, include: Globs, exclude: Globs, parents: tuple[Path, ...]) -> Iterator[SourceEntry]:
    """Yield the matching files of a folder. `parents` are the resolved folders from the source's root to this one.

    Raises SourceUnavailable if a folder that may contain documents cannot be listed: its documents would appear to be
    removed otherwise."""
    try:
        with os.scandir(folder) as iterator:
            entries = list(iterator)
    except FileNotFoundError:
        return  # deleted since its parent was listed
    except OSError as error:
        raise SourceUnavailable(
            f"Folder {_printable(folder)} cannot be listed: {error.strerror}. Nothing was changed. "
            "Correct its permissions or its mount, or exclude it (`exclude: [folder/**]`)."
        ) from None
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if _is_folder(entry):
            included, excluded = include.below(entry.name), exclude.below(entry.name)
            if not included.patterns or excluded.matches_everything:
                continue
            real = Path(entry.path).resolve() if entry.is_symlink() else parents[-1] / entry.name
            if entry.is_symlink() and (rejection := _reject_link(real, parents)):
                yield SourceEntry(_printable(path), "link", 0, rejection)
            else:
                yield from _walk(entry.path, f"{path}/", included, excluded, (*parents, real))
        elif include.match(entry.name) and not (exclude.patterns and exclude.match(entry.name)):
            yield _file_entry(path, entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be read
        return False


def _reject_link(target: Path, parents: tuple[Path, ...]) -> str | None:
    """Return why a link to a folder is not followed: it leaves the source, or points to one of its own parents."""
    if not target.is_relative_to(parents[0]):
        return "A link that leaves the folder is not followed. Copy its target into the folder, or exclude the link."
    if any(parent.is_relative_to(target) for parent in parents):
        return "A link to one of its parent folders is not followed. Remove it, or exclude it."
    return None


def _file_entry(path: str, entry: os.DirEntry[str]) -> SourceEntry:
    if (uri := _printable(path)) != path:
        return SourceEntry(uri, "unnamed", 0, "The file's name is not UTF-8. Rename it.")
    try:
        status = entry.stat()
    except OSError:  # a dangling link, or deleted since: `fetch` will report why
        return SourceEntry(path, "unreadable", 0)
    if not stat.S_ISREG(status.st_mode):
        return SourceEntry(path, "special", 0, "It is a device, pipe or socket, not a regular file. Exclude it.")
    # The time of the last change of its status tells a restored or synchronized file, which keeps its size and its time.
    return SourceEntry(path, f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}", status.st_size)


def _printable(path: str) -> str:
    """Return the path with `%E9` for each byte that is not UTF-8, so that it can be stored and printed."""
    return path if path.isascii() else re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", path)
