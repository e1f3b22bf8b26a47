"""A client of Prefect's REST API, so that starting and watching runs does not require Prefect to be installed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
import tenacity

from mindset.errors import ConfigurationError, RequestRejected, ServiceUnavailable, UnknownRun

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True)
class FlowRun:
    """A flow run. `state` is Prefect's state type in capitals, `message` its message about the state."""

    id: str
    name: str
    state: str
    message: str
    started_at: str | None = None
    ended_at: str | None = None
    kb: str | None = None
    """The knowledge base if the run is a night, or else None."""
    replayed: bool = False
    """Whether it had already been started with the same idempotency key."""

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def succeeded(self) -> bool:
        return self.state == "COMPLETED"


class PrefectClient:
    """Starts and watches runs of deployments. Every method raises ServiceUnavailable while Prefect is unreachable."""

    def __init__(self, api_url: str, timeout_s: float = 30.0) -> None:
        """A request is retried for at most `timeout_s` seconds. A user and password in the URL authenticate it."""
        self._client = httpx.Client(base_url=api_url.rstrip("/") + "/", timeout=min(15.0, timeout_s))
        self._url = str(httpx.URL(api_url).copy_with(userinfo=b""))  # without a password, for messages
        self._timeout_s = timeout_s
        self._csrf: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def start(
        self, deployment: str, parameters: dict[str, Any], key: str | None = None, name: str | None = None
    ) -> FlowRun:
        """Start a run of `flow/deployment`. A repeated request with the same `key` returns the same run.

        `name` applies until the flow starts and names the run itself. Raises ConfigurationError if Prefect has no such
        deployment, RequestRejected if the key was used for a run with other parameters."""
        target = self._send("GET", f"deployments/name/{deployment}")
        if target is None:
            raise ConfigurationError(
                f"Prefect has no deployment {deployment}. Run `mindset deploy`, or `mindset up` for a local stack."
            )
        # Prefect does not start a second run for the same key.
        request: dict[str, Any] = {
            "parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": key or uuid.uuid4().hex,
        }  # fmt: skip
        if name:
            request["name"] = name
        response = self._request("POST", f"deployments/{target['id']}/create_flow_run", request)
        run = response.json()
        if run["parameters"] | parameters != run["parameters"]:
            raise RequestRejected("The Idempotency-Key was used for a run with other parameters. Choose a new one.")
        return replace(_flow_run(run), replayed=response.status_code != httpx.codes.CREATED)

    def get(self, run: str) -> FlowRun:
        """Return a run. Raises UnknownRun."""
        raw = self._send("GET", f"flow_runs/{run}")
        if raw is None:
            raise UnknownRun(f"Prefect has no run {run!r}. Starting a night returns its id.")
        return _flow_run(raw)

    def newest(self, kb: str, limit: int = 20) -> list[FlowRun]:
        """Return the nights of a knowledge base, newest first."""
        named = {"name": {"like_": f"{kb}-night-"}, "tags": {"all_": ["night"]}}
        query = {"flow_runs": named, "sort": "EXPECTED_START_TIME_DESC", "limit": 200}
        runs = (_flow_run(raw) for raw in self._send("POST", "flow_runs/filter", query))
        return [run for run in runs if run.kb == kb][:limit]

    def stages(self, run: str) -> list[FlowRun]:
        """Return the subflow runs of a run in the order in which they started."""
        query = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [_flow_run(raw) for raw in self._send("POST", "flow_runs/filter", query)]

    def progress(self, runs: list[str]) -> dict[str, float]:
        """Return {run id: percent} of the runs that report progress."""
        # Newest first, and a later entry of a dictionary replaces an earlier one.
        newest_last = reversed(self._artifacts(runs, "progress"))
        return {artifact["flow_run_id"]: float(artifact["data"]) for artifact in newest_last}

    def report(self, run: str) -> str | None:
        """Return a night's report in Markdown."""
        return next((str(artifact["data"]) for artifact in self._artifacts([run], "markdown")), None)

    def _artifacts(self, runs: list[str], kind: str) -> list[Any]:
        query = {"artifacts": {"flow_run_id": {"any_": runs}, "type": {"any_": [kind]}}, "sort": "CREATED_DESC"}
        artifacts: list[Any] = self._send("POST", "artifacts/filter", query)
        return artifacts

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON of a response, or None for a 404."""
        response = self._request(method, path, body)
        return None if response.status_code == httpx.codes.NOT_FOUND else response.json()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """Return a successful JSON response or a 404. Retries while Prefect is busy or starting."""
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception(_is_transient),
                stop=tenacity.stop_after_attempt(6) | tenacity.stop_after_delay(self._timeout_s),
                wait=tenacity.wait_exponential(multiplier=0.1, max=5) + tenacity.wait_random(0, 1),
                reraise=True,
            ):
                with attempt:
                    headers = {} if method == "GET" else self._csrf_headers()
                    response = self._client.request(method, path, json=body, headers=headers)
                    if response.status_code == httpx.codes.FORBIDDEN and "CSRF" in response.text:
                        self._csrf = None  # expired
                    if response.status_code != httpx.codes.NOT_FOUND:
                        response.raise_for_status().json()
        except httpx.HTTPStatusError as refused:
            raise ServiceUnavailable(
                f"Prefect at {self._url} returned {refused.response.status_code}: {refused.response.text[:200]}. See its log."
            ) from refused
        except ValueError as other:
            raise ServiceUnavailable(
                f"The server at {self._url} is not Prefect: {other}. Correct MINDSET_PREFECT_API_URL."
            ) from other
        except httpx.TransportError as lost:
            raise ServiceUnavailable(
                f"Prefect does not answer at {self._url}: {lost}. Start it with `mindset up`, or correct MINDSET_PREFECT_API_URL."
            ) from lost
        return response

    def _csrf_headers(self) -> dict[str, str]:
        """Return the headers that Prefect requires of requests that change something, if its CSRF protection is enabled."""
        if self._csrf is None:
            client = uuid.uuid4().hex
            response = self._client.get("csrf-token", params={"client": client})
            # A server without the protection rejects the request for a token.
            enabled = response.status_code == httpx.codes.OK
            token = response.json()["token"] if enabled else ""
            self._csrf = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client} if enabled else {}
        return self._csrf


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed: Prefect returns 503 while its SQLite database is locked."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status in (429, 502, 503) or (status == httpx.codes.FORBIDDEN and "CSRF" in error.response.text)
    return isinstance(error, httpx.TransportError)


def _flow_run(raw: dict[str, Any]) -> FlowRun:
    state, parameters = raw.get("state") or {}, (raw.get("parameters") or {}).get("parameters") or {}
    return FlowRun(
        raw["id"], raw["name"], raw.get("state_type") or "PENDING", state.get("message") or "",
        raw.get("start_time"), raw.get("end_time"), parameters.get("kb") if "night" in raw.get("tags", ()) else None,
    )  # fmt: skip
