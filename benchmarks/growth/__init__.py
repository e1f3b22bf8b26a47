"""How costs grow with a knowledge base: `python -m benchmarks.growth`."""
