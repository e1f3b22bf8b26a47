"""Checks on questions, passages and answers."""
