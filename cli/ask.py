"""`ask` and `search`, over the HTTP API like any other client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape

from cli.context import connected_settings
from cli.output import CODES, AsJson, err, out, print_json
from cli.overrides import Overrides, search_with
from mindset.application import require_setting
from mindset.errors import MindsetError, NotAuthenticated, QuestionRejected, ServiceUnavailable

KnowledgeBaseName = Annotated[str, typer.Argument(help="Name of the knowledge base.")]
# Descriptions of the steps that an answer may leave out.
_STEPS = {
    "dense": "vector search",
    "lexical": "full-text search",
    "rerank": "reranking",
    "generation": "the preferred model",
    "judge": "the judge",
    "conversation": "the conversation so far",
}

_CLOSEST = 3

QuestionText = Annotated[str, typer.Argument(help="The question, in quotes.")]


def ask(kb: KnowledgeBaseName, question: QuestionText, as_json: AsJson = False) -> None:
    """Ask the live release a question. The answer cites its passages.

    [dim]Example:[/]  mindset ask docs "How do I roll back a release?" """
    if as_json:
        print_json(_post("/v1/answers", {"knowledge_base": kb, "question": question}))
        return
    show_sources(_stream_answer(kb, question))


def search(
    kb: KnowledgeBaseName,
    question: QuestionText,
    limit: Annotated[int | None, typer.Option(min=1, max=50, help="Maximum number of chunks to show.")] = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the passages of the live release that answer a question.

    [dim]Examples:[/]  mindset search docs "roll back" --limit 3
                       mindset search docs "roll back" --set retrieval.dense_weight=0.8"""
    if set_:
        result = search_with(kb, question, limit, set_)
    else:
        result = _post("/v1/search", {"knowledge_base": kb, "question": question, "limit": limit})
    if as_json:
        print_json(result)
        return
    for passage in result["passages"]:
        place = passage["places"][0]
        path = " › ".join([place["title"], *place["heading_path"]])
        out.print(f"[bold]{passage['rank']}. {escape(place['uri'])}[/]  [dim]{escape(path)}[/]", highlight=False)
        out.print(passage["text"], markup=False, highlight=False)
        out.print()
    _show_origin(result)


def show_sources(answer: dict[str, Any]) -> None:
    """Print the documents that an answer cites and the version it is based on."""
    cited = sorted({(citation["passage"], citation["uri"], citation["title"]) for citation in answer["citations"]})
    for passage, uri, title in cited:
        out.print(f"  [cyan]\\[{passage}][/] {escape(title)}  [dim]{escape(uri)}[/]", highlight=False)
    if not answer["supported"] and answer["passages"]:
        out.print("Closest passages:")
        for place in (passage["places"][0] for passage in answer["passages"][:_CLOSEST]):
            path = " › ".join(dict.fromkeys([place["title"], *place["heading_path"]]))
            out.print(f"  {escape(path)}  [dim]{escape(place['uri'])}[/]", highlight=False)
    _show_origin(answer)


def _stream_answer(kb: str, question: str) -> dict[str, Any]:
    answer: dict[str, Any] | None = None
    with _api() as client:
        body = {"knowledge_base": kb, "question": question, "stream": True}
        with client.stream("POST", "/v1/answers", json=body) as response:
            if response.is_error:
                response.read()
                raise _problem(response)
            streamed = ""
            for name, data in _events(response.iter_lines()):
                if name == "answer.delta":
                    streamed += data["text"]
                    out.print(data["text"], end="", markup=False, highlight=False)
                elif name == "answer.completed":
                    answer = data
                elif name == "error":
                    raise ServiceUnavailable(data["detail"])
    if answer is None:
        raise ServiceUnavailable("The answer ended prematurely. Ask again.")
    if streamed.strip() != answer["answer"]:  # it was retracted
        out.print(f"\n{answer['answer']}", markup=False)
    out.print("\n")
    return answer


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            yield name, json.loads(line.removeprefix("data:"))


def _post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    with _api() as client:
        response = client.post(path, json=body)
        if response.is_error:
            raise _problem(response)
        result: dict[str, Any] = response.json()
        return result


@contextmanager
def _api() -> Iterator[httpx.Client]:
    settings = connected_settings()
    url = require_setting(settings.api_url, "api_url")
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=90) as client:
            yield client
    except httpx.TransportError as lost:
        raise ServiceUnavailable(
            f"The API does not answer at {url}: {lost}. Start it with `mindset up`, or correct MINDSET_API_URL."
        ) from lost


def _problem(response: httpx.Response) -> MindsetError:
    """Convert the API's problem response to the error that caused it."""
    try:
        problem = response.json()
        kind, detail = problem["type"].removeprefix("urn:mindset:"), problem["detail"]
    except (ValueError, KeyError):
        return ServiceUnavailable(f"The API returned {response.status_code}: {response.text[:200]}")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return NotAuthenticated(f"{detail} The commands send MINDSET_API_KEY.")
    if response.status_code in (413, 422):
        return QuestionRejected(detail)
    if kind == ServiceUnavailable.__name__:
        return ServiceUnavailable(f"{detail} `mindset status` shows what is down.")
    errors = {error.__name__: error for error in CODES}
    return errors.get(kind, ServiceUnavailable)(detail)


def _show_origin(result: dict[str, Any]) -> None:
    if result["degraded"]:
        missing = ", ".join(_STEPS.get(step, step) for step in result["degraded"])
        err.print(
            f"[yellow]degraded[/]: without {missing}. "
            "`mindset status` shows which server is down, the API's `/readyz` which model."
        )
    out.print(
        f"[dim]{result['knowledge_base']}, version {result['version']}, {result['milliseconds']['total']:.0f} ms[/]"
    )


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(ask)
    app.command()(search)
