"""Front matter: the YAML block between `---` lines at the top of a file, with title, ACL and metadata."""

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
# A thematic break may also start a text. With a key on the next line, or below comments, it is front matter.
_UNCLOSED = re.compile(r"""\A(?:[ \t]*+\n)*+---\w*[ \t]*\n(?:[ \t]*\#.*\n)*[ \t]*["']?[\w-]+["']?[ \t]*:(?:\s|\Z)""")
# PyYAML's own errors, and those that it raises for an invalid value of a tag (`!!bool x`) or a thousand brackets.
_MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects aliases, integers over 64 bits and a second `acl`.

    With aliases a few lines can expand to a billion values. JSON does not allow larger integers. Of two `acl` keys YAML
    would silently use the second."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number: int = super().construct_yaml_int(node)
        if not -(2**63) <= number < 2**63:
            raise yaml.YAMLError("a number has more than 64 bits and must be quoted")
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [_name(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if names.count("acl") > 1:
            raise DocumentRejected("The front matter contains `acl` twice. Keep one of them.")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not supported")
        return super().compose_node(parent, index)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def split(text: str) -> tuple[dict[str, Any], str]:
    """Return the front matter and the rest of the text. A block in another language (`---js`) is removed.

    Raises DocumentRejected if the block is not closed or its YAML is malformed. It must not be ignored, because it may
    contain the ACL."""
    match = _BLOCK.match(text)
    if not match:
        if _UNCLOSED.match(text):
            raise DocumentRejected("The front matter is not closed. End it with a line that contains only `---`.")
        return {}, text
    rest = text[match.end() :]
    if match["kind"] not in ("", "yaml", "yml"):
        return {}, rest
    try:
        front = yaml.load(match["block"], _Loader)  # noqa: S506  # nosec B506  # derived from SafeLoader
    except _MALFORMED as error:
        reason = " ".join(str(error).split())
        raise DocumentRejected(f"The front matter is not valid YAML: {reason}. Correct it.") from None
    if front is None:
        return {}, rest
    if not isinstance(front, dict):
        return {}, text  # prose between two thematic breaks
    return {_name(key): _plain(value) for key, value in front.items()}, rest


def title(front: dict[str, Any]) -> str | None:
    """Return the title in the front matter, or None if it is missing, empty or not a string."""
    value = front.get("title")
    return value.strip() if isinstance(value, str) and value.strip() else None


def acl(front: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the sorted principals in `acl`, or None without `acl`. Raises DocumentRejected for anything but names."""
    if "acl" not in front:
        return None
    value = front["acl"]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise DocumentRejected(
            f"`acl` in the front matter is {value!r}. Make it a list of principals, such as [staff]."
        )
    return tuple(sorted(set(names)))


def metadata(front: dict[str, Any]) -> dict[str, Any]:
    """Return all other keys whose values are scalars or flat lists of scalars, as JSON allows them."""
    scalars = (str, int, float, bool)

    def is_supported(value: Any) -> bool:
        if isinstance(value, list):
            return not any(isinstance(item, list) for item in value) and all(map(is_supported, value))
        return isinstance(value, scalars) and not (isinstance(value, float) and not math.isfinite(value))

    return {key: value for key, value in front.items() if key not in ("title", "acl") and is_supported(value)}


def _name(key: Any) -> str:
    """Return a key as text. `title` and `acl` are recognized in any capitalization."""
    name = normalize(str(key))
    folded = name.strip().casefold()
    return folded if folded in ("title", "acl") else name


def _plain(value: Any) -> Any:
    """Convert dates to text, because metadata is JSON, and normalize strings, because escapes can hide characters."""
    if isinstance(value, dict):
        return {normalize(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else normalize(str(value))
