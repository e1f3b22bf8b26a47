"""Answers from a language model on Bedrock, through Converse."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from mindset.errors import ProviderUnavailable
from mindset.generation.citations import CitationReader
from mindset.generation.endpoint import Endpoint
from mindset.generation.prompt import Prompt, build_prompt, cited_prompt, label, passages_within_budget, remove_fences
from mindset.generation.protocol import Piece, Usage
from mindset.generation.reasoning_filter import ReasoningFilter
from mindset.providers import bedrock_client
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime.type_defs import ContentBlockUnionTypeDef, ConverseStreamOutputTypeDef

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "guardrail",
}


class BedrockGenerator:
    """Thread-safe. `deadline_s` bounds a whole answer, its retries included.

    With `cites` the passages are given as search results, which the model cites by itself; not all models of Bedrock do."""

    def __init__(
        self,
        model: str,
        *,
        region: str = "us-east-1",
        url: str | None = None,
        max_tokens: int = 800,
        deadline_s: float = 60.0,
        endpoint: Endpoint | None = None,
        cites: bool = False,
    ) -> None:
        self.name = f"bedrock:{model}"
        self._model = model
        self._max_tokens = max_tokens
        self._deadline_s = deadline_s
        self._cites = cites
        self._endpoint = endpoint or Endpoint(self.name)
        connections = self._endpoint.limits.concurrency
        self._clients = bedrock_client.Clients(region, url, connections)
        self._clients.with_timeout(
            min(deadline_s, self._endpoint.limits.first_token_timeout_s)
        )  # not while somebody waits

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        if not self._cites:
            return self.stream_prompt(build_prompt(question, passages), deadline)
        prompt, numbers = cited_prompt(question), passages_within_budget(passages)
        results = [_search_result(number, passages[number - 1]) for number in numbers]
        return self._asked(prompt.system, [*results, {"text": prompt.user}], deadline, numbers)

    def stream_prompt(self, prompt: Prompt, deadline: Deadline | None = None) -> Iterator[Piece]:
        return self._asked(prompt.system, [{"text": prompt.user}], deadline, ())

    def close(self) -> None:
        self._clients.close()

    def _asked(
        self, system: str, content: list[ContentBlockUnionTypeDef], deadline: Deadline | None, numbers: Sequence[int]
    ) -> Iterator[Piece]:
        deadline = deadline or Deadline(self._deadline_s)
        return self._endpoint.stream(lambda: self._pieces(system, content, deadline, _Cited(numbers)), deadline)

    def _pieces(
        self, system: str, content: list[ContentBlockUnionTypeDef], deadline: Deadline, cited: _Cited
    ) -> Generator[Piece, None, None]:
        thinking = ReasoningFilter()
        stop: str | None = None
        usage: Usage | None = None
        with bedrock_client.translate_errors(self._model):
            response = self._clients.with_timeout(deadline.seconds_left()).converse_stream(
                modelId=self._model,
                system=[{"text": system}],
                messages=[{"role": "user", "content": content}],
                inferenceConfig={"maxTokens": self._max_tokens, "temperature": 0.0},
            )
            with closing(response["stream"]) as events:
                for event in bedrock_client.read_events(events, deadline):
                    deadline.check(f"Bedrock model {self._model}")
                    text, stop_now, usage_now = _read(event)
                    stop, usage = stop_now or stop, usage_now or usage
                    if said := thinking.feed(cited.marked(event, text)):
                        yield Piece(said)
        if not stop:
            raise ProviderUnavailable(f"The answer of Bedrock model {self._model} was cut off. Try again.")
        yield Piece(thinking.finish(), _FINISH.get(stop, stop), usage)


class _Cited:
    """Native citations as the markers that other models write: behind the text that they belong to, before its last space."""

    def __init__(self, numbers: Sequence[int]) -> None:
        """`numbers`: of the passages, in the order in which they were given; of none where none is cited so."""
        self._numbers = numbers
        self._own = CitationReader(0)  # what the model writes in brackets itself cites nothing here, and is left out
        self._cited: dict[int, None] = {}  # in order, each once
        self._line = self._space = ""

    def marked(self, event: ConverseStreamOutputTypeDef, text: str) -> str:
        """The event's text, and at the end of a block the markers of what the block cites."""
        if not self._numbers:
            return text
        if "contentBlockDelta" in event:
            location = event["contentBlockDelta"]["delta"].get("citation", {}).get("location", {})
            index = location.get("searchResultLocation", {}).get("searchResultIndex", -1)
            if 0 <= index < len(self._numbers):
                self._cited[self._numbers[index]] = None
        ends = "contentBlockStop" in event or "messageStop" in event  # not every gateway tells of blocks
        told = self._space + self._own.feed(text) + (self._own.finish() if ends else "")
        said = told.rstrip()
        self._line = (self._line + self._space + said).rpartition("\n")[2]
        self._space = told[len(said) :]
        if ends:
            # Nothing may follow a fence or a row of a table in its line.
            lead = "\n\n" if self._line.lstrip().startswith(("```", "~~~", "|")) else " "
            markers = "".join(f"[{number}]" for number in self._cited)
            said += (lead + markers if markers else "") + self._space
            self._cited, self._space = {}, ""
        return said


def _search_result(number: int, passage: Passage) -> ContentBlockUnionTypeDef:
    # By number, not by its URI: that is a name that somebody chose, and no guardrail has read it.
    source = f"passage {number}"
    text = remove_fences(passage.text).strip() or "-"  # an empty one is refused, with all the others
    return {
        "searchResult": {
            "source": source,
            "title": remove_fences(label(passage)) or source,
            "content": [{"text": text}],
            "citations": {"enabled": True},
        }
    }


def _read(event: ConverseStreamOutputTypeDef) -> tuple[str, str | None, Usage | None]:
    """Text, stop reason and usage of one event; most carry none of them."""
    if "contentBlockDelta" in event:
        # A delta may hold reasoning or a tool's input instead of text.
        return event["contentBlockDelta"]["delta"].get("text", ""), None, None
    if "messageStop" in event:
        return "", event["messageStop"]["stopReason"], None
    if "metadata" in event:
        counted = event["metadata"]["usage"]
        return "", None, Usage(counted["inputTokens"], counted["outputTokens"])
    return "", None, None
