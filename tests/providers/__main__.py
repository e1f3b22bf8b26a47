"""`python -m tests.providers [port]`: run the test server of the model providers for manual testing."""

from __future__ import annotations

import sys
import threading

from tests.providers import ProviderServer


def main() -> None:
    """Serve until interrupted."""
    with ProviderServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(f"export MINDSET_NIM_URL={server.nim_url}")  # noqa: T201 -- the output of a command
        print(f"export MINDSET_BEDROCK_URL={server.url}", flush=True)  # noqa: T201
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")  # noqa: T201


if __name__ == "__main__":
    main()
