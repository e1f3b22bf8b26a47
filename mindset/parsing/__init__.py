"""Parsing: convert bytes to text with one parser per format, the risky ones in a child process with limits."""
