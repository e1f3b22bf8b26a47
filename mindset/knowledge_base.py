"""A knowledge base's definition: one YAML file under version control, parsed into frozen models."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mindset.errors import ConfigurationError, UnknownKnowledgeBase

# What PyYAML raises, besides its own errors, at a wrong value (`2026-99-99`, `!!bool x`) or at a thousand brackets.
_MALFORMED = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_][A-Z0-9_]*)(?::-(?P<default>[^}]*))?\}")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Strict(BaseModel):
    """Frozen, and an unknown key is an error: a misspelt option must not be ignored for a year of nights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _someone(acl: tuple[str, ...]) -> tuple[str, ...]:
    if not acl:
        raise ValueError(
            "an empty list lets nobody read: name principals, such as [staff], or leave it out for everyone"
        )
    return acl


def _below(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for each in patterns:
        if not each.strip("./") or each.startswith("/") or each.endswith("/") or ".." in each.split("/"):
            raise ValueError(f"{each!r} is no glob of files below the folder: write one such as guides/**/*.md")
    return patterns


Globs = Annotated[tuple[str, ...], AfterValidator(_below)]


class FolderSource(_Strict):
    """Files below a folder."""

    kind: Literal["folder"] = "folder"

    path: Path
    """The folder; relative paths are taken from the YAML file."""

    include: Globs = ("**/*.md", "**/*.markdown", "**/*.html", "**/*.htm", "**/*.txt", "**/*.pdf")
    """Globs of the files to read, relative to the folder."""

    exclude: Globs = ()
    """Globs of files to leave out."""

    max_document_bytes: int = Field(default=50_000_000, ge=1)
    """A larger file is quarantined without being read."""


class Chunking(_Strict):
    """How documents are cut."""

    method: Literal["structural", "recursive", "fixed"] = "structural"
    """`structural` follows headings and blocks; the others are there for comparison."""

    tokens: int = Field(default=400, ge=16, le=4096)
    """Budget of a chunk, in tokens of four characters each, a rule of thumb for English."""

    overlap: int = Field(default=0, ge=0)
    """Tokens that `fixed` and `recursive` repeat from the chunk before."""

    language: str = Field(default="english", pattern=r"^[a-z_][a-z0-9_]*$")
    """Postgres text search configuration that stems the chunks; the chunk stage asks Postgres whether it is there."""

    @model_validator(mode="after")
    def _advances(self) -> Chunking:
        if self.overlap >= self.tokens:
            raise ValueError(f"overlap is {self.overlap}, which must be less than the {self.tokens} tokens of a chunk")
        return self

    @property
    def fingerprint(self) -> str:
        """Changes when the same text would be cut or indexed differently."""
        return fingerprint("chunking/1", self.model_dump(mode="json"))


# The model that a provider is asked for where none is named.
_EMBEDDING_MODELS: dict[str, dict[str, Any]] = {
    "wordllama": {"model": "wordllama", "dimension": 256},
    "nim": {"model": "nvidia/llama-nemotron-embed-1b-v2", "dimension": 2048},
    "bedrock": {"model": "amazon.titan-embed-text-v2:0", "dimension": 1024},
}

_RERANKERS = {"nim": "nvidia/llama-nemotron-rerank-1b-v2", "bedrock": "cohere.rerank-v3-5:0"}

_CHAT_MODELS = {
    "extractive": "extractive",
    "nim": "nvidia/llama-3.1-nemotron-nano-8b-v1",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}


def _with_model(given: Any, models: Mapping[str, str], provider: str) -> Any:
    """What is given of a section; a model that is left out is the provider's own, and `provider` who it is by default."""
    if not isinstance(given, dict):
        return given
    named = str(given.get("provider", provider))
    return {"model": models[named]} | given if named in models else given


class Embedding(_Strict):
    """Which model turns texts into vectors."""

    provider: Literal["wordllama", "nim", "bedrock", "sentence-transformers"] = "wordllama"
    """`wordllama` runs in the process and needs nothing else."""

    model: str = "wordllama"
    """The provider's name of the model; each has a default but `sentence-transformers`."""

    dimension: int = Field(default=256, ge=8, le=4096)
    """Length of a vector; name it beside a model that is not the provider's default."""

    shards: int = Field(default=1, ge=1, le=64)
    """How many runs of the embed deployment share a night's new texts, where stages run as deployments."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_provider(cls, given: Any) -> Any:
        """What is left out is the provider's own; without a default it must be named."""
        if not isinstance(given, dict):
            return given
        provider = str(given.get("provider", "wordllama"))
        default = _EMBEDDING_MODELS.get(provider, {})
        if given.get("model", default.get("model")) == default.get("model"):
            given = default | given
        missing = [key for key in ("model", "dimension") if key not in given]
        if missing and provider in ("nim", "bedrock", "sentence-transformers"):
            raise ValueError(f"there is no default of {provider} here for {' and '.join(missing)}: name it")
        return given


class Reranking(_Strict):
    """Which model puts the best of what was found in order."""

    provider: Literal["nim", "bedrock"] = "nim"
    """Who is asked."""

    model: str = _RERANKERS["nim"]
    """The provider's name of the model; each has a default."""

    candidates: int = Field(default=40, ge=2, le=200)
    """How many chunks it reads for a question: the best, of those that the caller may see."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_provider(cls, given: Any) -> Any:
        return _with_model(given, _RERANKERS, "nim")


class Retrieval(_Strict):
    """How passages are found."""

    passages: int = Field(default=5, ge=1, le=50)
    """How many chunks a search returns by default."""

    candidates: int = Field(default=60, ge=1, le=500)
    """How many chunks each of dense and lexical search proposes."""

    dense_weight: float | None = Field(default=None, ge=0)
    """Weight of dense search in the fusion; 0 leaves it out. Unset: 1, and 0.3 for versions built by WordLlama."""

    lexical_weight: float = Field(default=1.0, ge=0)
    """Weight of full-text search in the fusion; 0 leaves it out."""

    rerank: Reranking | None = None
    """Which model puts the best of both searches in order; None: their fusion does."""

    deadline_s: float = Field(default=2.0, gt=0)
    """A search step that takes longer is left out, and the answer says `degraded`."""

    @model_validator(mode="after")
    def _searches(self) -> Retrieval:
        if self.dense_weight == 0 and not self.lexical_weight:
            raise ValueError("dense_weight and lexical_weight are both 0: nothing would be searched")
        return self


class Writer(_Strict):
    """Who can write answers."""

    provider: Literal["extractive", "nim", "bedrock"] = "extractive"
    """`extractive` quotes the best sentences and needs no model."""

    model: str = "extractive"
    """The provider's name of the model; each has a default."""

    citations: Literal["markers", "native"] = "markers"
    """How a model says what it stands on: by markers that it writes, or, `native`, by the citations that some models of
    Bedrock have."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_provider(cls, given: Any) -> Any:
        return _with_model(given, _CHAT_MODELS, "extractive")

    @model_validator(mode="after")
    def _cites(self) -> Self:
        if self.citations == "native" and self.provider != "bedrock":
            raise ValueError(f"citations: native is bedrock's alone; leave it out for {self.provider}")
        return self


class Generation(Writer):
    """Who writes answers, and who else where that one cannot."""

    fallback: tuple[Writer, ...] | None = None
    """Who writes where `provider` fails before its first word, in this order. Unset: `extractive`; empty: nobody."""

    max_tokens: int = Field(default=800, ge=16, le=16_384)
    """Longest answer."""

    deadline_s: float = Field(default=60.0, gt=0)
    """Longest time for a whole answer, whoever writes it."""

    @property
    def writers(self) -> tuple[Writer, ...]:
        """All of them, in the order in which they are asked."""
        first = Writer(provider=self.provider, model=self.model, citations=self.citations)
        others = (Writer(),) if self.fallback is None else self.fallback
        return tuple(dict.fromkeys((first, *others)))


class Guardrails(_Strict):
    """What is checked besides the rules that always hold."""

    bedrock: str | None = None
    """Id of a guardrail of Amazon Bedrock, which questions, passages and answers are shown to; None: of none."""

    version: str = "DRAFT"
    """Its version."""

    judge: Writer | None = None
    """A model that is asked whether each answer follows from its passages; what does not is taken back."""

    @field_validator("judge")
    @classmethod
    def _judges(cls, judge: Writer | None) -> Writer | None:
        if judge and judge.provider == "extractive":
            raise ValueError("extractive quotes and cannot judge: name nim or bedrock as its provider")
        if judge and judge.citations == "native":
            raise ValueError("a judge cites nothing: leave out citations")
        return judge


class Gate(_Strict):
    """What a candidate must not lose against the live version to be released."""

    margins: dict[Literal["recall@5", "mrr", "ndcg@10"], Annotated[float, Field(ge=0, le=1)]] = {
        "recall@5": 0.02,
        "mrr": 0.03,
        "ndcg@10": 0.03,
    }
    """By how much each metric may drop."""

    minimum: dict[Literal["recall@5", "mrr", "ndcg@10"], Annotated[float, Field(ge=0, le=1)]] = {}
    """What each metric must reach, whatever is live."""


class Evaluation(_Strict):
    """What a version is judged by."""

    golden_set: Path | None = None
    """JSON lines of questions with evidence; relative to the YAML file. None: nothing is measured and nothing is gated."""

    optional: bool = False
    """Whether the golden set may be missing: then the night says so and goes on."""

    principals: tuple[str, ...] = ("*",)
    """Whose rights the questions are asked with."""

    gate: Gate = Gate()


class KnowledgeBase(_Strict):
    """A named corpus with its sources, chunking, embedding, retrieval, golden set and gate."""

    name: Name
    title: str
    description: str = ""
    sources: tuple[FolderSource, ...] = Field(min_length=1)
    acl: Annotated[tuple[str, ...], AfterValidator(_someone)] = ("*",)
    """Principals who may read a document that does not say so itself; `*` is everyone."""
    audience: Annotated[tuple[str, ...], AfterValidator(_someone)] = ("*",)
    """Principals who may know of the knowledge base and ask it; to others it is not there. What they read of it is
    still decided by each document's `acl`."""
    largest_loss: float = Field(default=0.5, ge=0, le=1)
    """A night that finds more than this share of the documents gone stops and asks, instead of emptying the release."""
    keep_versions: int = Field(default=10, ge=2)
    """How many of the newest versions `maintain` keeps, and as many that can be rolled back to.

    Others are retired, and the texts and vectors that only those need are forgotten."""
    chunking: Chunking = Chunking()
    embedding: Embedding = Embedding()
    retrieval: Retrieval = Retrieval()
    generation: Generation = Generation()
    guardrails: Guardrails = Guardrails()
    evaluation: Evaluation = Evaluation()


def fingerprint(*parts: Any) -> str:
    """Sixteen hexadecimal digits that name a value made of JSON types."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def load_knowledge_base(name: str, folder: Path) -> KnowledgeBase:
    """The definition in `folder/name.yaml`.

    Raises UnknownKnowledgeBase, or ConfigurationError naming the file, the key and what is wrong with it."""
    file = folder / f"{name}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name) or not file.is_file():
        known = ", ".join(each.stem for each in sorted(folder.glob("*.yaml"))) or "none"
        raise UnknownKnowledgeBase(
            f"No knowledge base is named {name!r}; there are: {known}. `MINDSET_KNOWLEDGE_BASES` names their folder."
        )
    return parse_knowledge_base(file)


def parse_knowledge_base(file: Path) -> KnowledgeBase:
    """The definition in a file, its relative paths resolved against it.

    `${VARIABLE}` and `${VARIABLE:-default}` stand for the environment's values. Raises ConfigurationError."""
    try:
        raw = yaml.safe_load(_expand(file.read_text(encoding="utf-8"), file))
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigurationError(f"Cannot read {file}: {unreadable}. Check the path and its rights.") from None
    except _MALFORMED as malformed:
        raise ConfigurationError(f"{file} is not YAML: {' '.join(str(malformed).split())}. Correct it.") from None
    try:
        found = KnowledgeBase.model_validate(raw)
    except ValidationError as wrong:
        raise ConfigurationError(f"{file} is wrong: {_faults(wrong)}. `mindset kb validate` checks it again.") from None
    if found.name != file.stem:
        raise ConfigurationError(
            f"{file} defines {found.name!r}: rename the file to {found.name}.yaml or the other way."
        )
    return _resolved(found, file.parent)


def _faults(wrong: ValidationError) -> str:
    """Key and fault, of each; pydantic also calls a list too short for the items that are wrong, which is left out."""
    faults = {each["loc"]: each["msg"] for each in wrong.errors()}
    return "; ".join(
        f"{'.'.join(map(str, key)) or 'file'}: {message}"
        for key, message in faults.items()
        if not any(key == other[: len(key)] for other in faults if other != key)
    )


def unset_variables(file: Path) -> dict[str, str]:
    """{name: default} of the variables that a definition names and the environment does not set."""
    found = _VARIABLE.finditer(file.read_text(encoding="utf-8"))
    return {each["name"]: each["default"] or "" for each in found if each["name"] not in os.environ}


def _expand(text: str, file: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigurationError(f"{file} needs the variable {name}, which is not set. Set it, or give a default.")
        return found

    return _VARIABLE.sub(value, text)


def _resolved(kb: KnowledgeBase, folder: Path) -> KnowledgeBase:
    sources = tuple(each.model_copy(update={"path": (folder / each.path).resolve()}) for each in kb.sources)
    golden = kb.evaluation.golden_set
    evaluation = kb.evaluation.model_copy(update={"golden_set": golden and (folder / golden).resolve()})
    return kb.model_copy(update={"sources": sources, "evaluation": evaluation})
