"""Other libraries, each with its own method of re-ingestion. They run in an environment that `make bench-ingest` creates."""
