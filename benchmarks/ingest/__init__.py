"""Ingest the same documents with Product Mindset, with other libraries and with a bare loop: time, memory, correctness.

`python -m benchmarks.ingest` runs it; `make bench-ingest` first creates the environment of the other libraries.
"""
