"""Values that are tried without being released: `retrieval.dense_weight=0.5`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.retrieval_options import Retrieval
from mindset.errors import ConfigurationError

_SECTION = "retrieval."


def with_overrides(kb: KnowledgeBase, assignments: Sequence[str]) -> KnowledgeBase:
    """Return a definition with some retrieval options replaced, given as `retrieval.key=value` with the value in YAML.

    Other sections need a night, because they change what is stored. Raises ConfigurationError naming the assignment."""
    values: dict[str, Any] = kb.retrieval.model_dump()
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        name = key.strip().removeprefix(_SECTION)
        if not separator or not key.strip().startswith(_SECTION) or name not in Retrieval.model_fields:
            keys = ", ".join(f"{_SECTION}{field}" for field in Retrieval.model_fields)
            raise ConfigurationError(
                f"--set {assignment}: write KEY=VALUE with one of {keys}. Other keys take effect with a night."
            )
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as malformed:
            raise ConfigurationError(
                f"--set {assignment}: {' '.join(str(malformed).split())}. Correct the value."
            ) from None
    try:
        retrieval = Retrieval.model_validate(values)
    except ValidationError as invalid:
        problems = "; ".join(
            f"{_SECTION}{'.'.join(map(str, error['loc']))}: {error['msg'].removeprefix('Value error, ')}"
            for error in invalid.errors()
        )
        raise ConfigurationError(f"--set {' --set '.join(assignments)}: {problems}. Correct the value.") from None
    return kb.model_copy(update={"retrieval": retrieval})
