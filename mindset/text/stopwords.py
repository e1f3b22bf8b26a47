"""English words that say nothing of what a question is about."""

from __future__ import annotations


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


STOP_WORDS = word_set("""
    a about all am an and any are as at be been but by can could did do does for from get had has have how i if
    in into is me much must my no not of on or our shall should so some such tell than the to up us was we were
    what when where which who whom why will with would you your
""")
"""Those that no rule of ours looks at."""
