"""What parsing makes of a document's bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

PARSER = "3"
"""Advance when a parser would read the same bytes differently: every document is then parsed once more."""


@dataclass(frozen=True)
class ParsedDocument:
    """A document as text. `media_type` is the text's own, `text/markdown` or `text/plain`, whatever the bytes were."""

    text: str
    title: str
    media_type: str
    metadata: dict[str, Any] = field(default_factory=dict)
    acl: tuple[str, ...] | None = None

    @property
    def content_hash(self) -> str:
        """Names the revision: equal when text, title, type and metadata are. Rights belong to the document, not to it."""
        parts = [self.text, self.title, self.media_type, self.metadata]
        canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:32]
