"""Prefect blocks: typed connections and credentials, each able to test itself and to build its domain object."""
