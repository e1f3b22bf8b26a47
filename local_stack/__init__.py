"""The embedded stack: Postgres, Valkey, Chroma, Prefect, its workers and the API as child processes on one machine.

`supervision` starts and stops the stack, `status` checks its servers, and `state.connect` finds its addresses. This file
imports nothing, because two of the modules also run as programs, which should start quickly.
"""
