"""From bytes to text: one parser a format, the risky ones in a child process with limits."""
