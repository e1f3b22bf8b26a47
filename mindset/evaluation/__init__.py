"""Is a version good enough to go live: golden sets, metrics, comparison, gate."""
