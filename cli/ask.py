"""`ask` and `search`: over the API where one runs, as an app would."""

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
from mindset.application import require_setting
from mindset.errors import MindsetError, NotAuthenticated, QuestionRejected, ServiceUnavailable

KnowledgeBaseName = Annotated[str, typer.Argument(help="Name of the knowledge base.")]
# What each step that an answer had to leave out is to the person who asks.
_STEPS = {
    "dense": "vector search",
    "lexical": "full-text search",
    "rerank": "reranking",
    "generation": "the model that is asked first",
    "judge": "the judge's word",
    "conversation": "the conversation so far",
}

QuestionText = Annotated[str, typer.Argument(help="The question, in quotes.")]


def ask(kb: KnowledgeBaseName, question: QuestionText, as_json: AsJson = False) -> None:
    """Ask the live release a question; the answer cites its passages.

    [dim]Example:[/]  mindset ask docs "How do I roll back a release?" """
    if as_json:
        print_json(_post("/v1/answers", {"knowledge_base": kb, "question": question}))
        return
    done = _stream_answer(kb, question)
    show_sources(done)


def search(
    kb: KnowledgeBaseName,
    question: QuestionText,
    limit: Annotated[int | None, typer.Option(min=1, max=50, help="Most chunks to show.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the passages of the live release that answer a question.

    [dim]Example:[/]  mindset search docs "roll back" --limit 3"""
    found = _post("/v1/search", {"knowledge_base": kb, "question": question, "limit": limit})
    if as_json:
        print_json(found)
        return
    for passage in found["passages"]:
        place = passage["places"][0]
        path = " › ".join([place["title"], *place["heading_path"]])
        out.print(f"[bold]{passage['rank']}. {escape(place['uri'])}[/]  [dim]{escape(path)}[/]", highlight=False)
        out.print(passage["text"], markup=False, highlight=False)
        out.print()
    _show_origin(found)


def show_sources(done: dict[str, Any]) -> None:
    """The documents that an answer cites, and the version it came from."""
    cited = sorted({(each["passage"], each["uri"], each["title"]) for each in done["citations"]})
    for passage, uri, title in cited:
        out.print(f"  [cyan]\\[{passage}][/] {escape(title)}  [dim]{escape(uri)}[/]", highlight=False)
    _show_origin(done)


def _stream_answer(kb: str, question: str) -> dict[str, Any]:
    done: dict[str, Any] | None = None
    with _api() as client:
        body = {"knowledge_base": kb, "question": question, "stream": True}
        with client.stream("POST", "/v1/answers", json=body) as response:
            if response.is_error:
                response.read()
                raise _problem(response)
            shown = ""
            for name, data in _events(response.iter_lines()):
                if name == "answer.delta":
                    shown += data["text"]
                    out.print(data["text"], end="", markup=False, highlight=False)
                elif name == "answer.completed":
                    done = data
                elif name == "error":
                    raise ServiceUnavailable(data["detail"])
    if done is None:
        raise ServiceUnavailable("The answer broke off before its end. Ask again.")
    if shown.strip() != done["answer"]:
        out.print(f"\n{done['answer']}", markup=False)
    out.print("\n")
    return done


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
        found: dict[str, Any] = response.json()
        return found


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
    """The API's problem as the error it was."""
    try:
        problem = response.json()
        kind, detail = problem["type"].removeprefix("urn:mindset:"), problem["detail"]
    except (ValueError, KeyError):
        return ServiceUnavailable(f"The API answered {response.status_code}: {response.text[:200]}")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return NotAuthenticated(f"{detail} The commands send MINDSET_API_KEY.")
    if response.status_code in (413, 422):
        return QuestionRejected(detail)
    if kind == ServiceUnavailable.__name__:
        return ServiceUnavailable(f"{detail} `mindset status` shows what is down.")
    known = {each.__name__: each for each in CODES}
    return known.get(kind, ServiceUnavailable)(detail)


def _show_origin(found: dict[str, Any]) -> None:
    if found["degraded"]:
        missing = ", ".join(_STEPS.get(each, each) for each in found["degraded"])
        err.print(
            f"[yellow]degraded[/]: without {missing}. "
            "`mindset status` shows which server is down, the API's `/readyz` which model."
        )
    out.print(f"[dim]{found['knowledge_base']}, version {found['version']}, {found['milliseconds']['total']:.0f} ms[/]")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(ask)
    app.command()(search)
