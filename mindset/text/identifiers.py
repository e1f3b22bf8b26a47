"""The words of a token, which is text without white space: a word, an identifier, an address, an operator, or a sentence of a
script without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import regex

from mindset.text.normalization import remove_invisible
from mindset.text.stopwords import word_set

# Letters and digits of all scripts with their combining marks, and the signs of C++ and F#.
_LETTERS = r"[\p{L}\p{N}\p{M}]+"
_SIGNS = r"(?:\+\+(?![\p{L}\p{M}+])|\#(?![\p{L}\p{N}\p{M}\#]))?"
_PIECE = regex.compile(_LETTERS + _SIGNS)
_PIECE_WITH_APOSTROPHE = regex.compile(rf"{_LETTERS}(?:'{_LETTERS})*{_SIGNS}")

# Between pieces of one name ("e-mail", "snake_case", "Node.js"), and between names that are written as one.
_WITHIN_NAME = frozenset({"-", "_", "__", ".", "'"})
_BETWEEN_NAMES = word_set("/ // \\ \\\\ : :: :// :/// @ + = ~ # ? % & , -> /? /# /~")

# "loadRoster", "HTTPServer", "APIs", "PPX9087"; letters without case count as small ones.
_UPPER, _LOWER = r"(?:[\p{Lu}\p{Lt}]\p{M}*)", r"(?:[\p{Ll}\p{Lo}\p{Lm}]\p{M}*)"
_SUBPART = regex.compile(rf"{_UPPER}{{2,}}s(?!\p{{L}})|{_UPPER}+(?!{_LOWER})|{_UPPER}?{_LOWER}+|\p{{N}}+|\p{{M}}+")
# More parts than an identifier has are those of a key or of encoded bytes.
_MAX_SUBPARTS, _MAX_PIECE, _MAX_WHOLE = 8, 64, 255
# Java is another language, which JavaScript is often mistaken for.
_INDIVISIBLE = frozenset({"javascript"})

# "v2" is version 2.
_VERSION = regex.compile(r"[vV]\d+")

# Prefixes of flags, variables, decorators, hidden files and the like.
_SIGIL = regex.compile(r"""(?:^|[`'"\u201c\u201d\u201e(\[{,;=|/*>])(--?|[.#$@%:~])$""")

# Scripts that are written without spaces. Korean has spaces, but its particles are part of the words.
_UNSPACED = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\u30fc\u3099\u309a]"
)
_HAS_UNSPACED = regex.compile(_UNSPACED)
_RUN = regex.compile(rf"{_UNSPACED}(?:{_UNSPACED}|\p{{M}})*|(?:(?!{_UNSPACED})[\s\S])+")
_HAN = regex.compile(r"\p{Han}")

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-") | {"\u2019": "'", "\u02bc": "'"})
_ESCAPED = regex.compile(r"\\([#+*_.\-])")

# Function words that in capitals are something else: a department, a country, an organization, a keyword.
_ACRONYMS = word_set(
    "all am an and any are as at be but by can do for go had has have he how if in is it its may me my no not of off on one or "
    "out own she so the to too up us was we who why will you aids"
)

# Of common programming languages. A fixed list, because punctuation and markup are written with the same characters.
_OPERATORS = word_set(
    "** == === != !== <= >= <=> => -> <- |> <| |>> << >> >>> <<< && || ?? ?. ?: :: := ++ -- // .. ... ..= ..< <> >>= <$> <*> "
    "+= -= *= /= %= &= |= ^= **= //= <<= ??= &&= ||= ~= =~ !~ <- =<< >=> -| |- ~> <~ &^ && ^^ !! ## @@ "
    "() [] {} {{ }} [[ ]] ${ $( #{ <% %> /* */ /** <!-- --> /> </ $? $! $@ $# $$ &> 2> >& #! ~/ ./ ../"
)
_UNQUOTED_OPERATORS = word_set("% & ~ ^ @ $ ! \\ = < + /")
# Between two words, these are punctuation.
_PROSE = word_set("-- .. ... // () [] {} -->")
_QUOTES = regex.compile("[`'\"\u201c\u201d\u201e\u2018\u00ab\u00bb]+")
_BRACKETS, _PUNCTUATION = "()[]{},;", ".,;:!?"


class Token(NamedTuple):
    """The words of a token in lower case, before stemming."""

    words: list[str]
    """Its smallest parts."""
    grams: list[str]
    """Pairs of adjacent characters of scripts without spaces."""
    wholes: list[str]
    """What repeats the parts: names as a whole, identifiers, addresses, acronyms, operators, Chinese characters."""


def analyze_token(text: str, *, contractions: bool) -> Token:
    """Return the words of a text without white space, in linear time.

    With `contractions`, an apostrophe is part of a word, as in "don't"; otherwise it separates words, as in "l'eau"."""
    token = Token([], [], [])
    if not text.isascii():
        text = unicodedata.normalize("NFKC", remove_invisible(text)).translate(_DASHES)
    if "\\" in text:
        text = _ESCAPED.sub(r"\1", text)
    for part in text.split():  # normalization turns a few characters into a space and a mark
        _analyze(part, _PIECE_WITH_APOSTROPHE if contractions else _PIECE, token)
    return token


def _analyze(text: str, piece_pattern: regex.Pattern[str], token: Token) -> None:
    names: list[list[str]] = []  # names that are written as one, each with its pieces and separators
    start = end = 0
    sigil = ""
    for match in piece_pattern.finditer(text):
        gap, piece = text[end : match.start()], match[0]
        if names and gap in _WITHIN_NAME:
            names[-1] += gap, piece
        elif names and gap in _BETWEEN_NAMES:
            names.append([piece])
            _add_operators(gap, token, left=False, right=False)
        else:
            _add_wholes(names, text[start:end], sigil, token)
            if gap:
                _add_operators(gap, token, left=not end, right=False)
            names, start, sigil = [[piece]], match.start(), _sigil(gap, piece, after_piece=end > 0)
        _add_piece(piece, token, is_name=sigil == "." and len(names) == 1 and piece in ("NET", "Net"))
        end = match.end()
    _add_wholes(names, text[start:end], sigil, token)
    if end < len(text):
        _add_operators(text[end:], token, left=not end, right=True)


def _add_piece(piece: str, token: Token, *, is_name: bool) -> None:
    if is_name:
        return  # ".NET" is no net
    if piece[-1] in "+#":
        base = piece.rstrip("+#")
        if len(base) > 1:
            _add_piece(base, token, is_name=False)
            token.wholes.append(fold(piece))
        else:  # C++ is not C
            token.words.append(fold(piece))
        return
    if not piece.isascii() and _HAS_UNSPACED.search(piece):
        for run in _RUN.findall(piece):
            if _HAS_UNSPACED.match(run):
                _add_grams(run, token)
            else:
                _add_piece(run, token, is_name=False)
        return
    folded = fold(piece)
    parts = _subparts(piece, folded)
    token.words.extend(parts or (folded,))
    if parts:
        token.wholes.append(folded)
    elif piece.isupper() and (folded in _ACRONYMS or (len(piece) == 1 and piece not in "AI")):
        token.wholes.append(piece)


def _subparts(piece: str, folded: str) -> list[str]:
    """Return the parts of an identifier with two characters or more, or nothing if it is one word."""
    rest = piece[1:]
    if (rest.islower() and rest.isalpha()) or piece.isdecimal() or "'" in piece or folded in _INDIVISIBLE:
        return []
    if len(piece) > _MAX_PIECE:
        return []
    parts = _SUBPART.findall(piece)
    if not 1 < len(parts) <= _MAX_SUBPARTS:
        return []
    return [fold(part) for part in parts if len(part) > 1]


def _add_grams(run: str, token: Token) -> None:
    characters = regex.findall(r"\X", fold(run))
    if len(characters) == 1:
        token.grams.append(characters[0])
        return
    token.grams.extend(map("".join, pairwise(characters)))
    # A word of one character, which has other neighbors in the question.
    token.wholes.extend(character for character in characters if _HAN.match(character))


def _add_wholes(names: list[list[str]], text: str, sigil: str, token: Token) -> None:
    """Add names as a whole, and an address or path as a whole; `text` is what was written."""
    for name in names:
        if len(name) > 1 and sum(map(len, name)) <= _MAX_WHOLE:
            token.wholes.append(_join(name))
        if _VERSION.fullmatch(name[0]):
            # "v4.1" is 4.1, and also 4.
            token.wholes.extend(dict.fromkeys((name[0][1:], _join([name[0][1:], *name[1:]]))))
    if len(names) > 1 and len(text) <= _MAX_WHOLE:
        token.wholes.append(fold(text))
        if "," in text and (number := text.replace(",", "")).isdecimal():
            token.wholes.append(number)  # 10,000
    if sigil:
        token.wholes.append(sigil + fold("".join(names[0])))


def _join(name: list[str]) -> str:
    """Return a name without separators, except between digits: `ppx9087` and `email`, but `1.2.3`."""
    joined = name[0]
    for separator, piece in zip(name[1::2], name[2::2], strict=True):
        between_digits = joined[-1:].isdigit() and piece[:1].isdigit()
        joined += separator + piece if between_digits else piece
    return fold(joined)


def _sigil(gap: str, piece: str, *, after_piece: bool) -> str:
    match = _SIGIL.search(gap)
    if not match or (after_piece and match[1] == gap) or not (piece[0].isalpha() or match[1] == "#"):
        return ""
    return str(match[1])


def _add_operators(gap: str, token: Token, *, left: bool, right: bool) -> None:
    """Add operators in what is between two pieces, or between a piece and the token's start (`left`) or end (`right`)."""
    segments = _QUOTES.split(gap)
    for number, segment in enumerate(segments):
        first, last = number == 0, number == len(segments) - 1
        if (first and not left) != (last and not right):
            continue  # on one side of a word: punctuation or markup
        core = segment if segment in _OPERATORS else segment.strip(_BRACKETS)
        within = first and not left
        if within:
            if core in _OPERATORS and core not in _PROSE:
                token.wholes.append(core)
        else:
            token.wholes.extend(_standalone(core, quoted=not (first or last)))


def _standalone(core: str, *, quoted: bool) -> Iterator[str]:
    for operator in dict.fromkeys((core, core.rstrip(_PUNCTUATION))):
        if operator in _OPERATORS or operator in _UNQUOTED_OPERATORS or (quoted and len(operator) == 1):
            yield operator


def fold(text: str) -> str:
    """Return a normalized text in lower case, for comparison."""
    if text.isascii():
        return text.lower()
    # The lower case of a Turkish capital I with a dot is an i with another dot.
    return unicodedata.normalize("NFKC", text.casefold()).replace("i\u0307", "i")
