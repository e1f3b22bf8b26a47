"""Retrieval: from a question to passages, by dense search, full-text search, fusion and authorization."""
