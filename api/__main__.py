"""`python -m api`: serve on MINDSET_API_HOST and MINDSET_API_PORT."""

from __future__ import annotations

import math
import sys

import uvicorn

from api.app import create_app
from api.telemetry.logs import configure_logs
from mindset.config.settings import Settings, load_settings
from mindset.errors import MindsetError


def main() -> int:
    """Serve until stopped; return 2 if the settings are invalid."""
    try:
        settings = _connected(load_settings())
        configure_logs(settings.log_level)
        app = create_app(settings)
    except MindsetError as error:
        print(error, file=sys.stderr)  # noqa: T201  # there is no log yet
        return 2
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s),
    )
    return 0


def _connected(settings: Settings) -> Settings:
    """Fill unset addresses from the local stack, where that is installed: images do not contain it."""
    try:
        from local_stack.state import connect
    except ModuleNotFoundError:
        return settings
    return connect(settings, "postgres", "chroma")


if __name__ == "__main__":
    sys.exit(main())
