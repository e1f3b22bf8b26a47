"""What the adapters of model providers share: HTTP and Bedrock clients, deadlines, retries, circuit breakers."""
