"""Chunking: cut a document's text into chunks, texts worth retrieving with their locations."""
