"""Benchmarks, each with its own `make bench-...` command."""
