"""Full-text search in memory: postings of segments, and BM25 over them."""
