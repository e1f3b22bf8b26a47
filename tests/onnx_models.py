"""Small models in ONNX format, built on the spot, whose results can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

VOCABULARY = ("[UNK]", "[CLS]", "[SEP]", "query:", "passage:", "tide", "boat", "rope", "salt")


def build_model(
    folder: Path, output: str, table: NDArray[np.float32], *, max_tokens: int = 16, inputs: Sequence[str] = ()
) -> Path:
    """Write `model.onnx` and `tokenizer.json`. `table` has a row for each word of VOCABULARY.

    `output` is `tokens` (the row of each token), `pooled` (their sum) or `score` (the sum of their first column)."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    shape: list[str | int] = ["batch", "sequence", table.shape[1]]
    last = "rows"
    if output != "tokens":
        nodes.append(helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0))
        last, shape = "sum", ["batch", table.shape[1]]
    names = ["input_ids", *inputs]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in names],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(max_tokens)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def unit_table() -> NDArray[np.float32]:
    """Return a table in which each word has a dimension of its own."""
    return np.eye(len(VOCABULARY), dtype=np.float32)


def score_table(**scores: float) -> NDArray[np.float32]:
    """Return a table with one column: the score of each word; words that are not named have 0."""
    return np.array([[scores.get(word, 0.0)] for word in VOCABULARY], dtype=np.float32)


def write_settings(folder: Path, file: str, content: object) -> None:
    """Write one of the JSON files of Sentence Transformers."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
