"""Options of retrieval and reranking."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mindset.config.build_options import Globs
from mindset.config.definition import StrictModel, with_default_model

_DEFAULT_MODELS = {"nim": "nvidia/llama-nemotron-rerank-1b-v2", "bedrock": "cohere.rerank-v3-5:0"}


class Reranking(StrictModel):
    """The model that reorders the best candidates."""

    provider: Literal["nim", "bedrock", "onnx"] = "nim"
    """The provider of the model."""

    model: str = _DEFAULT_MODELS["nim"]
    """The provider's name of the model; for `onnx`, a folder or an installed package with `model.onnx` and `tokenizer.json`.
    The other providers have a default."""

    candidates: int = Field(default=40, ge=2, le=200)
    """Number of chunks it reads per question: the best of those that the caller may read."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_default_model(cls, section: Any) -> Any:
        if isinstance(section, dict) and section.get("provider") == "onnx" and "model" not in section:
            raise ValueError("onnx has no default model: name the folder of a cross-encoder")
        return with_default_model(section, _DEFAULT_MODELS, "nim")


class Retrieval(StrictModel):
    """How passages are retrieved."""

    passages: int = Field(default=5, ge=1, le=50)
    """Default number of chunks that a search returns."""

    candidates: int = Field(default=200, ge=1, le=500)
    """Number of chunks that dense and full-text search propose each. A chunk that one of them does not propose gets no score
    from it."""

    dense_weight: float | None = Field(default=None, ge=0)
    """Weight of dense search in the fusion; 0 disables it. Default: 0.6 with WordLlama,
    0.8 with an ONNX model, otherwise 1."""

    lexical_weight: float = Field(default=1.0, ge=0)
    """Weight of full-text search in the fusion; 0 disables it."""

    merge_near_duplicates: bool = True
    """Whether passages that say the same, such as those of a page and its print version, are one result with all their places."""

    canonical: Globs = ()
    """Globs of the documents to show and cite first among near-duplicates, in this order, relative to the source's folder. Of
    others, it is the latest edition (by version numbers in the path), then the shortest document."""

    rerank: Reranking | None = None
    """The model that reorders the fused ranking; None: no reranking."""

    deadline_s: float = Field(default=2.0, gt=0)
    """A search step that takes longer, in seconds, is left out and reported as `degraded`."""

    @model_validator(mode="after")
    def _searches_something(self) -> Retrieval:
        if self.dense_weight == 0 and not self.lexical_weight:
            raise ValueError("dense_weight and lexical_weight are both 0: nothing would be searched")
        return self
