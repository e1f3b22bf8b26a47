"""The embedded stack: Postgres, Valkey, Chroma, Prefect, its workers and the API as child processes on one machine.

`supervision` starts, stops and detaches it, `status` looks at it, `state.connect` finds it. Nothing is imported here:
two of the modules run as programs of their own and should start in a moment.
"""
