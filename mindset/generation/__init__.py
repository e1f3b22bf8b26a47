"""Generation: write answers from passages, with citations, fallbacks, guardrails and a judge."""
