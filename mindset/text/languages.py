"""Languages by the names that word analysis gives them."""

from __future__ import annotations

from functools import cache

from mindset.text.stopwords import ENGLISH_FILLERS, STOP_WORDS

# ISO 639-1, by the names of Snowball's stemmers.
_CODES = {
    "arabic": "ar", "armenian": "hy", "basque": "eu", "catalan": "ca", "czech": "cs", "danish": "da", "dutch": "nl",
    "english": "en", "esperanto": "eo", "estonian": "et", "finnish": "fi", "french": "fr", "german": "de", "greek": "el",
    "hindi": "hi", "hungarian": "hu", "indonesian": "id", "irish": "ga", "italian": "it", "lithuanian": "lt",
    "nepali": "ne", "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "serbian": "sr", "spanish": "es", "swedish": "sv", "tamil": "ta", "turkish": "tr", "yiddish": "yi",
}  # fmt: skip


def language_code(language: str) -> str:
    """Return the ISO 639-1 code of a language; `en` for those without one, such as `simple`."""
    return _CODES.get(language, "en")


@cache
def stop_words(language: str) -> frozenset[str]:
    """Return the words of a language, in lower case, that do not describe what a question is about."""
    # The list of the library for English has 1,298 words, many of which do.
    english = STOP_WORDS | ENGLISH_FILLERS
    code = language_code(language)
    if code == "en":
        return english
    import stopwordsiso  # reads all its lists: 20 ms

    return frozenset(stopwordsiso.stopwords(code)) if stopwordsiso.has_lang(code) else frozenset()
