"""Throughput of a Sentence Transformers model on this machine's GPU or CPU, compared with the library's own batching.

    python -m benchmarks.embedding [--model NAME_OR_FOLDER ...] [--texts 20000] [--device cuda] [--budget TOKENS ...]

Needs the extra `gpu`. Without `--model`, it creates models with random weights in the shapes of all-MiniLM-L6 (22 million
parameters) and bge-large (335 million): their vectors are meaningless, but cost the same. The texts are windows of 10 to
160 words of the corpora. Our embedder sorts texts by length and fills batches up to a token budget; the library sorts them
too, and takes 32 or 256 texts per batch. Each variant first embeds a quarter of the texts to warm up; rounds alternate
between the variants. `cosine` is the minimum over 200 texts between our vectors and those of the CPU in float32: the cost
of half precision.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

from benchmarks.machine import spread
from benchmarks.texts import DATA, real_texts
from mindset.embedding.sentence_transformers import SentenceTransformerEmbedder

# Layers, width and heads; https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 and BAAI/bge-large-en-v1.5.
SHAPES = {
    "MiniLM-L6": {"layers": 6, "width": 384, "heads": 12},
    "bge-large": {"layers": 24, "width": 1024, "heads": 16},
}
_LIBRARY = (32, 256)


def main() -> None:
    """Measure and print a Markdown table."""
    chosen = _options()
    texts, _ = real_texts(chosen.corpus, chosen.texts)
    with tempfile.TemporaryDirectory(prefix="embedding-") as folder:
        models = chosen.model or [random_model(Path(folder) / name, texts, **shape) for name, shape in SHAPES.items()]
        print(f"{len(texts):,} texts; {json.dumps(_device(chosen.device))}\n")
        print(
            "| model | batches | texts/s | GPU memory, MiB | cosine |\n| --- | --- | ---: | ---: | ---: |", flush=True
        )
        for model in models:
            _compare(model, texts, chosen)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", nargs="+", help="model names on the Hugging Face hub, or folders")
    options.add_argument("--texts", type=int, default=20_000)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--budget", type=int, nargs="+", default=[16_384, 65_536, 262_144])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--corpus", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    return options.parse_args()


def _compare(model: str, texts: Sequence[str], chosen: argparse.Namespace) -> None:
    variants: dict[str, Callable[[Sequence[str]], object]] = {}
    sample = texts[:: max(1, len(texts) // 200)][:200]
    expected = SentenceTransformerEmbedder(model, device="cpu").embed_passages(sample)
    cosine: dict[str, float] = {}
    for budget in chosen.budget:
        ours = SentenceTransformerEmbedder(model, device=chosen.device, token_budget=budget)
        variants[f"{budget:,} tokens"] = ours.embed_passages
        cosine[f"{budget:,} tokens"] = float(np.min(np.sum(ours.embed_passages(sample) * expected, axis=1)))
    precision = {"dtype": torch.bfloat16} if chosen.device.startswith("cuda") else {}
    library = SentenceTransformer(model, device=chosen.device, model_kwargs=precision)
    for size in _LIBRARY:
        variants[f"library, {size} per batch"] = partial(
            library.encode_document, batch_size=size, show_progress_bar=False
        )
    rates: dict[str, list[float]] = {name: [] for name in variants}
    memory: dict[str, int] = {}
    for embed in variants.values():
        embed(texts[: len(texts) // 4])
    for _ in range(chosen.rounds):
        for name, embed in variants.items():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            embed(texts)
            rates[name].append(len(texts) / (time.perf_counter() - started))
            memory[name] = torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else 0
    for name, rate in rates.items():
        similarity = f"{cosine[name]:.5f}" if name in cosine else ""
        print(f"| {Path(model).name} | {name} | {spread(rate, 0)} | {memory[name]} | {similarity} |", flush=True)


def random_model(folder: Path, texts: Sequence[str], *, layers: int, width: int, heads: int) -> str:
    """Create a model of this shape whose vocabulary is trained on the texts, and return its folder."""
    folder.mkdir()
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=30_522, show_progress=False)
    tokenizer.save_model(str(folder))
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    BertModel(shape).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=512)
    model_folder = str(folder.with_name(f"{folder.name} shape"))
    SentenceTransformer(modules=[transformer, Pooling(width)], device="cpu").save(model_folder)
    return model_folder


def _device(name: str) -> dict[str, str]:
    device = torch.cuda.get_device_name() if name.startswith("cuda") else "CPU"
    return {"device": device, "torch": torch.__version__}


if __name__ == "__main__":
    main()
