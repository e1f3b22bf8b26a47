"""Signatures of texts, which tell whether two texts are nearly the same without reading them.

Source: Broder, "On the resemblance and containment of documents", 1997 (MinHash), and Li and König, "b-Bit Minwise Hashing",
2010, which keeps only the last bits of each hash value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

COMPONENTS = 128
"""Bytes of a signature. The estimate of a resemblance of 0.8 has a standard error of 0.035."""

MIN_RESEMBLANCE = 0.8
"""Two texts are near-duplicates if they share this much of their sequences of three words: in a text of a hundred words, about
three may differ."""

# Shorter texts, such as "See the table below.", resemble each other without saying the same.
MIN_WORDS = 20

_SEQUENCE = 3
_SEED = 1
# Of two texts without a common sequence, one component in 256 is equal all the same.
_BY_CHANCE = 1 / 256


@dataclass(frozen=True)
class Signature:
    """What is compared of a text. Texts that are too short have `figures` 0 and are never near-duplicates."""

    components: NDArray[np.uint8]
    """Shape (COMPONENTS,)."""
    figures: int
    """A hash, of 64 bits, of all words with a digit. Texts that differ in a price or a code do not say the same."""


NO_SIGNATURE = Signature(np.zeros(COMPONENTS, dtype=np.uint8), 0)


def signature(words: Sequence[str]) -> Signature:
    """Return the signature of a text, given its words in order."""
    if len(words) < MIN_WORDS:
        return NO_SIGNATURE
    minhash = RMinHash(num_perm=COMPONENTS, seed=_SEED)
    minhash.update([" ".join(words[start : start + _SEQUENCE]) for start in range(len(words) - _SEQUENCE + 1)])
    figures = " ".join(sorted(word for word in words if any(map(str.isdigit, word))))
    hashed = int.from_bytes(hashlib.blake2b(figures.encode(), digest_size=8).digest(), "little")
    return Signature(np.array(minhash.digest(), dtype=np.uint32).astype(np.uint8), hashed or 1)


def resemblance(texts: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Estimate which share of the word sequences of each text, of shape (texts, COMPONENTS), and of the other are common.

    Returns an array of shape (texts,) of values up to 1; those of unrelated texts are near 0, or slightly below."""
    equal = np.count_nonzero(texts == other, axis=1) / COMPONENTS
    return np.asarray((equal - _BY_CHANCE) / (1 - _BY_CHANCE))
