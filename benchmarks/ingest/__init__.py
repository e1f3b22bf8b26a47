"""Ingesting the same documents by Product Mindset, by its peers and by nothing but a loop: seconds, memory, and what stays.

`python -m benchmarks.ingest` runs it; `make bench-ingest` first makes the environment that the peers run in.
"""
