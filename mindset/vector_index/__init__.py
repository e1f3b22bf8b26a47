"""The vector index: write, verify, seal and search Chroma collections."""
