"""A knowledge base's definition: one YAML file under version control, parsed into frozen models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mindset.config.build_options import Chunking, Embedding, FolderSource
from mindset.config.definition import Name, StrictModel
from mindset.config.evaluation_options import Evaluation
from mindset.config.generation_options import Generation, Guardrails
from mindset.config.retrieval_options import Retrieval

RENAMED_KEYS = {"largest_loss": "max_deletion_ratio"}
"""Keys of earlier releases and their new names."""


def _not_empty(principals: tuple[str, ...]) -> tuple[str, ...]:
    if not principals:
        raise ValueError(
            "an empty list lets nobody read: name principals, such as [staff], or leave it out for everyone"
        )
    return principals


class KnowledgeBase(StrictModel):
    """A named corpus with its sources, chunking, embedding, retrieval, golden set and gate."""

    name: Name
    title: str
    description: str = ""
    sources: tuple[FolderSource, ...] = Field(min_length=1)
    acl: Annotated[tuple[str, ...], AfterValidator(_not_empty)] = ("*",)
    """Principals who may read a document that names none itself; `*` is everyone."""
    audience: Annotated[tuple[str, ...], AfterValidator(_not_empty)] = ("*",)
    """Principals who may see and query the knowledge base; for others it does not exist. Which documents they may read
    is still decided by each document's `acl`."""
    max_deletion_ratio: float = Field(default=0.5, ge=0, le=1)
    """A night stops if more than this fraction of the documents was removed from the sources, instead of emptying the
    release."""
    keep_versions: int = Field(default=10, ge=2)
    """Number of newest versions, and of newest rollback targets, that `maintain` keeps.

    Other versions are retired, and texts and vectors that only they use are deleted."""
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    retrieval: Retrieval = Retrieval()
    generation: Generation = Generation()
    guardrails: Guardrails = Guardrails()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _reject_renamed_keys(cls, raw: Any) -> Any:
        for old, new in RENAMED_KEYS.items():
            if isinstance(raw, dict) and old in raw:
                raise ValueError(f"`{old}` is now `{new}`: rename the key")
        return raw
