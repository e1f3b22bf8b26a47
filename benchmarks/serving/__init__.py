"""Cost of serving over HTTP, in addition to retrieval and model, and behaviour under load."""
