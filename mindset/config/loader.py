"""Loading of definitions: YAML, environment variables, validation messages, relative paths."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import ConfigurationError, UnknownKnowledgeBase

# Besides its own errors, PyYAML raises these for invalid values (`2026-99-99`, `!!bool x`) and for deep nesting.
_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_][A-Z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def load_knowledge_base(name: str, folder: Path) -> KnowledgeBase:
    """Load the definition in `folder/name.yaml`.

    Raises UnknownKnowledgeBase, or ConfigurationError naming the file, the key and the problem."""
    file = folder / f"{name}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name) or not file.is_file():
        names = ", ".join(definition.stem for definition in sorted(folder.glob("*.yaml"))) or "none"
        raise UnknownKnowledgeBase(
            f"No knowledge base is named {name!r}; there are: {names}. `MINDSET_KNOWLEDGE_BASES` names their folder."
        )
    return parse_knowledge_base(file)


def parse_knowledge_base(file: Path) -> KnowledgeBase:
    """Parse a definition; relative paths are resolved against its file.

    `${VARIABLE}` and `${VARIABLE:-default}` are replaced by values of the environment. Raises ConfigurationError."""
    try:
        raw = yaml.safe_load(_expand_variables(file.read_text(encoding="utf-8"), file))
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigurationError(f"Cannot read {file}: {unreadable}. Check the path and its permissions.") from None
    except _YAML_ERRORS as malformed:
        raise ConfigurationError(f"{file} is not valid YAML: {' '.join(str(malformed).split())}. Correct it.") from None
    try:
        definition = KnowledgeBase.model_validate(raw)
    except ValidationError as invalid:
        raise ConfigurationError(
            f"{file} is invalid: {_problems(invalid)}. `mindset kb validate` checks it again."
        ) from None
    if definition.name != file.stem:
        raise ConfigurationError(
            f"{file} defines {definition.name!r}: rename the file to {definition.name}.yaml or the other way round."
        )
    return _with_absolute_paths(definition, file.parent)


def unset_variables(file: Path) -> dict[str, str]:
    """Return {name: default} of the variables that a definition uses and the environment does not set."""
    variables = _VARIABLE.finditer(file.read_text(encoding="utf-8"))
    return {match["name"]: match["default"] or "" for match in variables if match["name"] not in os.environ}


def _problems(invalid: ValidationError) -> str:
    """Return key and message of each problem.

    Pydantic also reports a list as too short if its items are invalid; that message is left out."""
    messages = {error["loc"]: error["msg"].removeprefix("Value error, ") for error in invalid.errors()}
    return "; ".join(
        f"{'.'.join(map(str, key)) or 'file'}: {message}"
        for key, message in messages.items()
        if not any(key == other[: len(key)] for other in messages if other != key)
    )


def _expand_variables(text: str, file: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        value = os.environ.get(name, default)
        if value is None:
            raise ConfigurationError(f"{file} needs the variable {name}, which is not set. Set it, or give a default.")
        return value

    return _VARIABLE.sub(value, text)


def _with_absolute_paths(definition: KnowledgeBase, folder: Path) -> KnowledgeBase:
    sources = tuple(
        source.model_copy(update={"path": (folder / source.path).resolve()}) for source in definition.sources
    )
    golden_set = definition.evaluation.golden_set
    evaluation = definition.evaluation.model_copy(update={"golden_set": golden_set and (folder / golden_set).resolve()})
    return definition.model_copy(update={"sources": sources, "evaluation": evaluation})
