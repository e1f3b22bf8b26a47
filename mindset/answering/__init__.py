"""The use case: from a question to a cited answer, with conversations, caching and the answer log."""
