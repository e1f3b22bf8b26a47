"""The `mindset` command."""
