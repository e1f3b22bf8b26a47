"""Embedding: the vectors of texts and questions, from a local or a remote model."""
