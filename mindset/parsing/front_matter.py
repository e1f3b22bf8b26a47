"""The block between `---` lines at the top of a file: title, rights, metadata."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from mindset.errors import DocumentRejected
from mindset.text.normalization import normalize

_BLOCK = re.compile(
    r"\A(?:[ \t]*+\n)*+---(?P<kind>\w*)[ \t]*\n(?P<block>.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
# A ruler may open a text, too; with a key on the next line (or below comments) it is a block.
_UNCLOSED = re.compile(r"""\A(?:[ \t]*+\n)*+---\w*[ \t]*\n(?:[ \t]*\#.*\n)*[ \t]*["']?[\w-]+["']?[ \t]*:(?:\s|\Z)""")
# What PyYAML raises, besides its own errors, at a wrong value behind a tag (`!!bool x`) or at a thousand brackets.
_MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """YAML without aliases: with them a few lines can stand for a billion values, or for themselves. Without numbers that
    no JSON takes, and without a second `acl`, which YAML would let win."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        found: int = super().construct_yaml_int(node)
        if not -(2**63) <= found < 2**63:
            raise yaml.YAMLError("it holds a number of more than 64 bits, which is to stand in quotes")
        return found

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [_name(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if names.count("acl") > 1:
            raise DocumentRejected("Front matter names `acl` twice. Keep one of them.")
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not read")
        return super().compose_node(parent, index)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def split(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and the rest. A block in another language than YAML (`---js`) is left out.

    Raises DocumentRejected where the block is never closed or its YAML is malformed: it may hold the document's rights,
    so it cannot be ignored."""
    match = _BLOCK.match(text)
    if not match:
        if _UNCLOSED.match(text):
            raise DocumentRejected("Front matter is opened and never closed. End it with a line that is `---` alone.")
        return {}, text
    rest = text[match.end() :]
    if match["kind"] not in ("", "yaml", "yml"):
        return {}, rest
    try:
        found = yaml.load(match["block"], _Loader)  # noqa: S506  # nosec B506  # it is a SafeLoader
    except _MALFORMED as malformed:
        raise DocumentRejected(f"Front matter is not YAML: {' '.join(str(malformed).split())}. Correct it.") from None
    if found is None:
        return {}, rest
    if not isinstance(found, dict):
        return {}, text  # two rulers with prose between them, not front matter
    return {_name(key): _plain(value) for key, value in found.items()}, rest


def title(front: dict[str, Any]) -> str | None:
    """The title that the front matter states."""
    found = front.get("title")
    return found.strip() if isinstance(found, str) and found.strip() else None


def acl(front: dict[str, Any]) -> tuple[str, ...] | None:
    """The principals that the front matter names. Raises DocumentRejected where `acl` is anything but names."""
    if "acl" not in front:
        return None
    found = front["acl"]
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not names or not all(isinstance(each, str) and each for each in names):
        raise DocumentRejected(
            f"`acl` in the front matter is {found!r}. Make it a list of principals, such as [staff]."
        )
    return tuple(sorted(set(names)))


def metadata(front: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping beside title and rights: plain values and lists of them."""
    simple = (str, int, float, bool)

    def keeps(value: Any) -> bool:
        if isinstance(value, list):
            return not any(isinstance(each, list) for each in value) and all(map(keeps, value))
        return isinstance(value, simple) and not (isinstance(value, float) and not math.isfinite(value))

    return {key: value for key, value in front.items() if key not in ("title", "acl") and keeps(value)}


def _name(key: Any) -> str:
    """A key; those that mean something to us in whatever capitals they are written."""
    name = normalize(str(key))
    known = name.strip().casefold()
    return known if known in ("title", "acl") else name


def _plain(value: Any) -> Any:
    """YAML's dates as text, since metadata is JSON; text without what an escape such as `"\\0"` hides in it."""
    if isinstance(value, dict):
        return {normalize(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | bool | None) else normalize(str(value))
