"""Prefect blocks: typed connections and credentials. Each tests its connection and opens its domain object."""
