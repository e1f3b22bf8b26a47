"""Configuration: settings, secret references, and the definitions of knowledge bases."""
