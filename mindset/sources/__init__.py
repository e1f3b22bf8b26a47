"""Sources of documents: a cheap listing of all entries, and the bytes of one entry on demand."""
