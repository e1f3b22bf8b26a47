"""Evaluation: golden sets, metrics and the release gate."""
