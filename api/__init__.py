"""The serving API: HTTP over mindset's search and answers."""
