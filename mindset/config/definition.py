"""What all models of a definition share: strictness, names, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class StrictModel(BaseModel):
    """A frozen model that rejects unknown keys, so that a misspelt option is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits that identify a value made of JSON types."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def with_default_model(section: Any, models: Mapping[str, str], default_provider: str) -> Any:
    """Fill in the default model of a section's provider if the section names none."""
    if not isinstance(section, dict):
        return section
    provider = str(section.get("provider", default_provider))
    return {"model": models[provider]} | section if provider in models else section
