"""Prefect flows, one file a stage; thin: they call mindset and report."""
