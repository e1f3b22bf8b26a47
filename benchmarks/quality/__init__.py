"""Quality of retrieval and of extractive answers, beside textbook methods on the same documents."""
