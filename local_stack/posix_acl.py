"""Access control lists of folders on Linux, to let one account enter a folder that others must not enter."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

from mindset.errors import StackError

# The format of the attribute, from the kernel's include/uapi/linux/posix_acl_xattr.h: a version, then entries.
_ATTRIBUTE, _VERSION = "system.posix_acl_access", 2
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_EXECUTE = 1

_Entries = dict[tuple[int, int], int]
"""{(tag, id): permissions}"""


def let_enter(folder: Path, uid: int, name: str) -> None:
    """Let the account `uid`, called `name`, enter (not list) a folder, unless everyone may.

    Raises StackError if the file system has no access control lists."""
    mode = folder.stat().st_mode
    entries = _read(folder, mode)
    if mode & stat.S_IXOTH or entries.get((_USER, uid), 0) & entries.get((_MASK, _NO_ID), 7) & _EXECUTE:
        return
    entries[_USER, uid] = entries.get((_USER, uid), 0) | _EXECUTE
    # The mask limits named accounts and groups; without one, it was the group's permissions. `chmod` sets it, so what it has
    # disabled in other entries must not come back with the bit that it gains.
    mask = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID])
    gained = _EXECUTE & ~mask
    for tag, id_ in entries:
        if tag in (_USER, _GROUP_OBJ, _GROUP) and (tag, id_) != (_USER, uid):
            entries[tag, id_] &= ~gained
    entries[_MASK, _NO_ID] = mask | _EXECUTE
    try:
        os.setxattr(folder, _ATTRIBUTE, _packed(entries))
    except (OSError, AttributeError) as error:  # other systems have no such attributes
        raise StackError(
            f"Postgres does not run as root but as the account {name}, which cannot enter {folder}, and access cannot be "
            f"granted to this account alone ({error}). Start the stack as a user other than root, or put the project and "
            f"MINDSET_DIRECTORY where every account can enter, such as /opt; or let everyone enter: chmod o+x {folder}."
        ) from None


def _read(folder: Path, mode: int) -> _Entries:
    try:
        packed = os.getxattr(folder, _ATTRIBUTE)
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return {
            (_USER_OBJ, _NO_ID): mode >> 6 & 7,
            (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
            (_OTHER, _NO_ID): mode & 7,
        }
    return {(tag, id_): permissions for tag, permissions, id_ in _ENTRY.iter_unpack(packed[_HEADER.size :])}


def _packed(entries: _Entries) -> bytes:
    ordered = sorted(entries.items())
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(tag, permissions, id_) for (tag, id_), permissions in ordered)
