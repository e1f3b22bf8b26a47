"""Options of a build: sources, chunking and embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from mindset.config.definition import StrictModel, fingerprint
from mindset.text.words import LANGUAGES


def _below_folder(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        outside = pattern.startswith("/") or ".." in pattern.split("/")
        if not pattern.strip("./") or outside or pattern.endswith("/"):
            raise ValueError(f"{pattern!r} is not a glob of files below the folder: write one such as guides/**/*.md")
    return patterns


def _known_language(language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"{language!r} is not a known language: use one of {', '.join(LANGUAGES)}")
    return language


Globs = Annotated[tuple[str, ...], AfterValidator(_below_folder)]


class FolderSource(StrictModel):
    """Files below a folder."""

    kind: Literal["folder"] = "folder"

    path: Path
    """The folder. Relative paths start at the YAML file."""

    include: Globs = ("**/*.md", "**/*.markdown", "**/*.html", "**/*.htm", "**/*.txt", "**/*.pdf")
    """Globs of the files to read, relative to the folder."""

    exclude: Globs = ()
    """Globs of files to leave out."""

    max_document_bytes: int = Field(default=50_000_000, ge=1)
    """A larger file is quarantined without being read."""


class Chunking(StrictModel):
    """How documents are split into chunks."""

    method: Literal["structural", "recursive", "fixed"] = "structural"
    """`structural` follows headings and blocks; the others exist for comparison."""

    tokens: int = Field(default=512, ge=16, le=4096)
    """Maximum size of a chunk, in tokens of four characters each, a rule of thumb for English."""

    overlap: int = Field(default=0, ge=0)
    """Number of tokens that `fixed` and `recursive` repeat from the previous chunk."""

    language: Annotated[str, AfterValidator(_known_language)] = "english"
    """Language of the documents, whose words full-text search reduces to stems; `simple` reduces none."""

    @model_validator(mode="after")
    def _overlap_is_smaller_than_chunk(self) -> Chunking:
        if self.overlap >= self.tokens:
            raise ValueError(f"overlap is {self.overlap}, which must be less than the {self.tokens} tokens of a chunk")
        return self

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would be split differently."""
        return fingerprint("chunking/2", self.model_dump(mode="json", exclude={"language"}))


_DEFAULT_MODELS: dict[str, dict[str, Any]] = {
    "wordllama": {"model": "wordllama", "dimension": 256},
    "onnx": {"model": "all-MiniLM-L6-v2", "dimension": 384},
    "nim": {"model": "nvidia/llama-nemotron-embed-1b-v2", "dimension": 2048},
    "bedrock": {"model": "amazon.titan-embed-text-v2:0", "dimension": 1024},
}


class Embedding(StrictModel):
    """The model that computes vectors of texts."""

    provider: Literal["wordllama", "onnx", "nim", "bedrock", "sentence-transformers"] = "wordllama"
    """`wordllama` and `onnx` run in the process and need no service."""

    model: str = "wordllama"
    """The provider's name of the model; for `onnx`, a folder or an installed package with `model.onnx` and `tokenizer.json`.
    Each provider has a default except `sentence-transformers`."""

    dimension: int = Field(default=256, ge=8, le=4096)
    """Length of a vector. Required with a model that is not the provider's default."""

    shards: int = Field(default=1, ge=1, le=64)
    """Number of runs of the embed deployment that share a night's new texts, if stages run as deployments."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, section: Any) -> Any:
        """Fill in the provider's default model and dimension; without a default they are required."""
        if not isinstance(section, dict):
            return section
        provider = str(section.get("provider", "wordllama"))
        default = _DEFAULT_MODELS.get(provider, {})
        if section.get("model", default.get("model")) == default.get("model"):
            section = default | section
        missing = [key for key in ("model", "dimension") if key not in section]
        if missing and provider in ("onnx", "nim", "bedrock", "sentence-transformers"):
            raise ValueError(f"{provider} has no default here for {' and '.join(missing)}: name it")
        return section
