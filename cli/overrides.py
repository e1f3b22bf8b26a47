"""`--set`: try values of retrieval options without releasing them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from cli.context import open_cli_installation
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.overrides import with_overrides
from mindset.config.ranking import RankingOptions, ranking_options
from mindset.retrieval.search import Searcher
from mindset.retrieval.search_request import SearchResult

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Try another value of a retrieval option, such as retrieval.dense_weight=0.8; repeatable. Nothing is released.",
    ),
]


def trial_ranking(searcher: Searcher, kb: KnowledgeBase, version: int | None) -> RankingOptions:
    """Return the ranking options of a definition, with the word analysis of the version, which a night would have to change."""
    analysis = searcher.snapshot(kb.name, version).ranking.analysis
    return ranking_options(kb).model_copy(update={"analysis": analysis})


def search_with(name: str, question: str, limit: int | None, assignments: list[str]) -> dict[str, Any]:
    """Search the live release with other options, with the rights of the golden set, and return the result as the API does."""
    with open_cli_installation() as opened:
        kb = with_overrides(opened.knowledge_base(name), assignments)
        ranking = trial_ranking(opened.searcher, kb, None)
        result = opened.searcher.search(kb, question, kb.evaluation.principals, limit, ranking=ranking)
    found: dict[str, Any] = TypeAdapter(SearchResult).dump_python(result, mode="json")
    return {"knowledge_base": found.pop("kb"), **found}
