"""English stop words."""

from __future__ import annotations


def word_set(words: str) -> frozenset[str]:
    """Return the set of the words in a text, which are separated by white space."""
    return frozenset(words.split())


STOP_WORDS = word_set("""
    a about all am an and any are as at be been but by can could did do does for from get had has have how i if
    in into is me much must my no not of on or our shall should so some such tell than the to up us was we were
    what when where which who whom why will with would you your
""")
"""Words that do not describe what a question is about."""

ENGLISH_FILLERS = word_set("""
    above after again also because before being below between both doing down during each few further having he
    her here hers him his it its itself just make makes many may might more most need needs nor off once one
    only other ours out over own same say says she that their theirs them then there these they this those
    through too under until very while yours
""")
"""Further words that do not tell sentences apart."""
