"""From a document's text to chunks: texts worth retrieving, each with its place."""
