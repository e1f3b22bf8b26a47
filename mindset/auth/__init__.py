"""Authentication: API keys and OIDC tokens become callers with scopes and principals."""
