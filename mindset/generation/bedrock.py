"""A generator for language models on Amazon Bedrock, through the Converse API."""

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

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "guardrail",
}


class BedrockGenerator:
    """A language model on Bedrock. Thread-safe.

    `deadline_s` limits a whole answer including its retries. With `cites`, the passages are sent as search results,
    which the model cites natively. Not all models of Bedrock support that."""

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
        # Opened now, so that the first answer does not wait for it.
        self._clients.with_timeout(min(deadline_s, self._endpoint.limits.first_token_timeout_s))

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        if not self._cites:
            return self.stream_prompt(build_prompt(question, passages), deadline)
        prompt, numbers = cited_prompt(question), passages_within_budget(passages)
        results = [_search_result(number, passages[number - 1]) for number in numbers]
        return self._stream(prompt.system, [*results, {"text": prompt.user}], deadline, numbers)

    def stream_prompt(self, prompt: Prompt, deadline: Deadline | None = None) -> Iterator[Piece]:
        return self._stream(prompt.system, [{"text": prompt.user}], deadline, ())

    def close(self) -> None:
        self._clients.close()

    def _stream(
        self, system: str, content: list[ContentBlockUnionTypeDef], deadline: Deadline | None, numbers: Sequence[int]
    ) -> Iterator[Piece]:
        deadline = deadline or Deadline(self._deadline_s)
        return self._endpoint.stream(
            lambda: self._pieces(system, content, deadline, _NativeCitations(numbers)), deadline
        )

    def _pieces(
        self, system: str, content: list[ContentBlockUnionTypeDef], deadline: Deadline, citations: _NativeCitations
    ) -> Generator[Piece, None, None]:
        reasoning = ReasoningFilter()
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
                    text, new_stop, new_usage = _read(event)
                    stop, usage = new_stop or stop, new_usage or usage
                    if visible := reasoning.feed(citations.add_markers(event, text)):
                        yield Piece(visible)
        if not stop:
            raise ProviderUnavailable(f"The response of Bedrock model {self._model} was cut off. Try again.")
        yield Piece(reasoning.finish(), _FINISH_REASONS.get(stop, stop), usage)


class _NativeCitations:
    """Converts native citations to the markers that other models write, at the end of the cited text."""

    def __init__(self, numbers: Sequence[int]) -> None:
        """`numbers` are those of the passages in the order of the search results; empty without native citations."""
        self._numbers = numbers
        # Removes markers that the model writes itself, which cite nothing here.
        self._marker_remover = CitationReader(0)
        self._cited: dict[int, None] = {}  # an ordered set
        self._line = self._space = ""  # the current line, and trailing space that is held back

    def add_markers(self, event: ConverseStreamOutputTypeDef, text: str) -> str:
        """Return the text of an event. At the end of a block, the markers of its citations are appended."""
        if not self._numbers:
            return text
        if "contentBlockDelta" in event:
            location = event["contentBlockDelta"]["delta"].get("citation", {}).get("location", {})
            index = location.get("searchResultLocation", {}).get("searchResultIndex", -1)
            if 0 <= index < len(self._numbers):
                self._cited[self._numbers[index]] = None
        # Not every gateway sends the end of a block.
        is_end = "contentBlockStop" in event or "messageStop" in event
        remover = self._marker_remover
        released = self._space + remover.feed(text) + (remover.finish() if is_end else "")
        output = released.rstrip()
        self._line = (self._line + self._space + output).rpartition("\n")[2]
        self._space = released[len(output) :]
        if is_end:
            # A marker on the same line would break a code fence or a table row.
            separator = "\n\n" if self._line.lstrip().startswith(("```", "~~~", "|")) else " "
            markers = "".join(f"[{number}]" for number in self._cited)
            output += (separator + markers if markers else "") + self._space
            self._cited, self._space = {}, ""
        return output


def _search_result(number: int, passage: Passage) -> ContentBlockUnionTypeDef:
    # Not the URI: it is user input that no guardrail has checked.
    source = f"passage {number}"
    text = remove_fences(passage.text).strip() or "-"  # Bedrock rejects a request with an empty text
    return {
        "searchResult": {
            "source": source,
            "title": remove_fences(label(passage)) or source,
            "content": [{"text": text}],
            "citations": {"enabled": True},
        }
    }


def _read(event: ConverseStreamOutputTypeDef) -> tuple[str, str | None, Usage | None]:
    """Return text, stop reason and usage of an event."""
    if "contentBlockDelta" in event:
        # A delta may contain reasoning or tool input instead of text.
        return event["contentBlockDelta"]["delta"].get("text", ""), None, None
    if "messageStop" in event:
        return "", event["messageStop"]["stopReason"], None
    if "metadata" in event:
        counts = event["metadata"]["usage"]
        return "", None, Usage(counts["inputTokens"], counts["outputTokens"])
    return "", None, None
