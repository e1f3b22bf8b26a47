"""The languages of front matter: YAML, TOML and JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

import yaml

from mindset.parsing.rights import unique_keys

MALFORMED = (ValueError, yaml.YAMLError, LookupError, AttributeError, TypeError, RecursionError)
"""Errors of the three parsers. PyYAML raises the last four for an invalid value of a tag (`!!bool x`) or a thousand
brackets; those of JSON and TOML are ValueErrors."""


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects aliases, merge keys and a second `acl`.

    With aliases a few lines can expand to a billion values. Of two `acl` keys YAML would silently use the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if any(key.tag == "tag:yaml.org,2002:merge" for key in keys):
            raise yaml.YAMLError("merge keys (`<<`) are not supported")
        unique_keys((key.value, None) for key in keys)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (`*name`) are not supported")
        return super().compose_node(parent, index)


def read_yaml(block: str) -> Any:
    """Return the value of a YAML document. Raises one of MALFORMED, or DocumentRejected for a second `acl`."""
    value = yaml.load(block, _Loader)  # noqa: S506  # nosec B506  # derived from SafeLoader
    _check_integers(value)
    return value


def read_toml(block: str) -> Any:
    """Return the table of a TOML document. Raises one of MALFORMED."""
    value = tomllib.loads(block)
    _check_integers(value)
    return value


def read_json(block: str) -> Any:
    """Return the object that a text contains, with or without its braces. Raises one of MALFORMED or DocumentRejected."""
    text = block.strip()
    value, end = read_json_prefix(text if text.startswith("{") else "{" + text + "}")
    if text.startswith("{") and end < len(text):
        raise ValueError(f"text follows the object at character {end}")
    return value


def read_json_prefix(text: str) -> tuple[Any, int]:
    """Return the JSON value at the start of a text and where it ends. Raises one of MALFORMED or DocumentRejected."""
    value, end = json.JSONDecoder(object_pairs_hook=unique_keys).raw_decode(text)
    _check_integers(value)
    return value, end


LANGUAGES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "yaml": ("YAML", read_yaml),
    "yml": ("YAML", read_yaml),
    "toml": ("TOML", read_toml),
    "json": ("JSON", read_json),
}
"""Name and parser by the word behind the opening `---`."""


def _check_integers(value: Any) -> None:
    """Raise ValueError for an integer over 64 bits, which JSON readers do not support."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a number has more than 64 bits and must be quoted")
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_integers(item)
