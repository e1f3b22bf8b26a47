"""Text: decoding and normalization, Markdown blocks, sentences, stop words."""
