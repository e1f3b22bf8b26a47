"""The peers, each by its own way of ingesting again. They run in an environment of their own, made by `make bench-ingest`."""
