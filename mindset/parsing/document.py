"""The result of parsing a document."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

PARSER = "5"
"""Version of the parsers. Increment it if a parser returns another result for the same bytes: all documents are then
parsed again."""


@dataclass(frozen=True)
class ParsedDocument:
    """A document as text. `media_type` describes the text, not the file: `text/markdown` or `text/plain`."""

    text: str
    title: str
    media_type: str
    metadata: dict[str, Any] = field(default_factory=dict)
    acl: tuple[str, ...] | None = None

    @property
    def content_hash(self) -> str:
        """The id of the revision: a hash of text, title, media type and metadata, but not of the ACL."""
        parts = [self.text, self.title, self.media_type, self.metadata]
        canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:32]
