"""Nights as Prefect knows them, over its REST API: whoever only starts and watches them needs no Prefect installed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
import stamina

from mindset.errors import ConfigurationError, RequestRejected, ServiceUnavailable, UnknownNight

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True)
class FlowRun:
    """A run of a deployment; `state` is Prefect's type of state in capitals, `message` what it says of itself."""

    id: str
    name: str
    state: str
    message: str
    started: str | None = None
    ended_at: str | None = None
    kb: str | None = None
    """Of which knowledge base it is a night; None where it is another run."""
    again: bool = False
    """Whether it had been started before, under the same key."""

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def succeeded(self) -> bool:
        return self.state == "COMPLETED"


class Nights:
    """Starts and watches runs of the deployments. Every method raises ServiceUnavailable while Prefect does not answer."""

    def __init__(self, api_url: str, patience_s: float = 30.0) -> None:
        """`patience_s` is how long a request is tried again."""
        self._client = httpx.Client(base_url=api_url.rstrip("/") + "/", timeout=min(15.0, patience_s))
        self._url, self._patience_s = api_url, patience_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def start(
        self, deployment: str, parameters: dict[str, Any], key: str | None = None, name: str | None = None
    ) -> FlowRun:
        """Start a run of `flow/deployment`; the same key is the same run, also when it is asked for again. Its flow
        names it when it begins: `name` is for the time until then.

        Raises ConfigurationError where Prefect has no such deployment, RequestRejected where the key stands for a
        run with other parameters."""
        found = self._send("GET", f"deployments/name/{deployment}")
        if found is None:
            raise ConfigurationError(
                f"Prefect has no deployment {deployment}. Run `prefect deploy --all`, or `mindset up` for a local stack."
            )
        # The key makes a repeated request the same run, not a second one.
        request: dict[str, Any] = {
            "parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": key or uuid.uuid4().hex,
        }  # fmt: skip
        if name:
            request["name"] = name
        response = self._request("POST", f"deployments/{found['id']}/create_flow_run", request)
        run = response.json()
        if run["parameters"] | parameters != run["parameters"]:
            raise RequestRejected("The Idempotency-Key was used for a run with other parameters. Choose a new one.")
        return replace(_flow_run(run), again=response.status_code != httpx.codes.CREATED)

    def get(self, run: str) -> FlowRun:
        """A run as it is now. Raises UnknownNight."""
        found = self._send("GET", f"flow_runs/{run}")
        if found is None:
            raise UnknownNight(f"Prefect has no run {run!r}. Its id is told when a night is started.")
        return _flow_run(found)

    def newest(self, kb: str, limit: int = 20) -> list[FlowRun]:
        """The nights of a knowledge base, the newest first."""
        named = {"name": {"like_": f"{kb}-night-"}, "tags": {"all_": ["night"]}}
        query = {"flow_runs": named, "sort": "EXPECTED_START_TIME_DESC", "limit": 200}
        nights = (_flow_run(each) for each in self._send("POST", "flow_runs/filter", query))
        return [each for each in nights if each.kb == kb][:limit]

    def stages(self, run: str) -> list[FlowRun]:
        """The subflow runs of a run, in the order they started."""
        query = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [_flow_run(each) for each in self._send("POST", "flow_runs/filter", query)]

    def progress(self, runs: list[str]) -> dict[str, float]:
        """{run: percent} of those runs that report progress."""
        return {each["flow_run_id"]: float(each["data"]) for each in self._artifacts(runs, "progress")}

    def report(self, run: str) -> str | None:
        """The markdown report that a night leaves."""
        return next((str(each["data"]) for each in self._artifacts([run], "markdown")), None)

    def _artifacts(self, runs: list[str], kind: str) -> list[Any]:
        query = {"artifacts": {"flow_run_id": {"any_": runs}, "type": {"any_": [kind]}}, "sort": "CREATED_DESC"}
        found: list[Any] = self._send("POST", "artifacts/filter", query)
        return found

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of an answer, None for a 404."""
        response = self._request(method, path, body)
        return None if response.status_code == httpx.codes.NOT_FOUND else response.json()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """A good answer, in JSON, or a 404; tries again while Prefect is busy or starts."""
        try:
            for attempt in stamina.retry_context(on=_passing, attempts=6, timeout=self._patience_s):
                with attempt:
                    response = self._client.request(method, path, json=body)
                    if response.status_code != httpx.codes.NOT_FOUND:
                        response.raise_for_status().json()
        except httpx.HTTPStatusError as refused:
            raise ServiceUnavailable(
                f"Prefect at {self._url} answered {refused.response.status_code}: {refused.response.text[:200]}. See its log."
            ) from refused
        except ValueError as other:
            raise ServiceUnavailable(
                f"What answers at {self._url} is not Prefect: {other}. Correct MINDSET_PREFECT_API_URL."
            ) from other
        except httpx.TransportError as lost:
            raise ServiceUnavailable(
                f"Prefect does not answer at {self._url}: {lost}. Start it with `mindset up`, or correct MINDSET_PREFECT_API_URL."
            ) from lost
        return response


def _passing(error: Exception) -> bool:
    """Whether an error is likely to pass: Prefect answers 503 while its SQLite database is locked."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503)
    return isinstance(error, httpx.TransportError)


def _flow_run(raw: dict[str, Any]) -> FlowRun:
    state, given = raw.get("state") or {}, (raw.get("parameters") or {}).get("parameters") or {}
    return FlowRun(
        raw["id"], raw["name"], raw.get("state_type") or "PENDING", state.get("message") or "",
        raw.get("start_time"), raw.get("end_time"), given.get("kb") if "night" in raw.get("tags", ()) else None,
    )  # fmt: skip
