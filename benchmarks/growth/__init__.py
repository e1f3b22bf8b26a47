"""Growth of costs with the size of a knowledge base: `python -m benchmarks.growth`."""
