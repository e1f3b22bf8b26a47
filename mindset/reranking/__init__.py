"""Reranking: order passages with a model that reads the question and each passage together."""
