"""Chroma, the accelerator: immutable segments of vectors and ids, which Postgres can rebuild at any time."""
