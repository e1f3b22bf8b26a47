"""Product Mindset: a pile of documents becomes evaluated releases of a searchable knowledge base."""
