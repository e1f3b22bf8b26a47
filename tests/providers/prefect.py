"""The part of Prefect's REST API that starting and watching nightly runs needs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tests.providers.http import answered_by
from tests.providers.reply import Reply


class PrefectServer:
    """Use it as a context manager. `runs` are the flow runs by id; a test sets their state."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._http = answered_by(self._answer)

    @property
    def url(self) -> str:
        return f"{self._http.url}/api"

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stop()

    def _answer(self, method: str, path: str, _headers: Mapping[str, str], body: bytes) -> Reply:
        path = path.removeprefix("/api/")
        status, content = self._get(path) if method == "GET" else self._post(path, json.loads(body))
        return Reply((json.dumps(content).encode(),), status=status)

    def _get(self, path: str) -> tuple[int, Any]:
        if path == "deployments/name/nightly/nightly":
            return 200, {"id": "of-nights"}
        run = self.runs.get(path.removeprefix("flow_runs/"))
        return (200, run) if run else (404, {"detail": "Flow run not found"})

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "deployments/of-nights/create_flow_run":
            existing = self._keys.get(body["idempotency_key"])
            id_ = self._keys.setdefault(body["idempotency_key"], str(uuid.uuid4()))
            run = {
                "id": id_, "name": body.get("name") or "witty-name", "tags": ["mindset", "night"], "state_type": "SCHEDULED",
                "state": {"message": ""}, "parameters": body["parameters"], "start_time": None, "end_time": None,
            }  # fmt: skip
            return 200 if existing else 201, self.runs.setdefault(id_, run)
        if path == "flow_runs/filter":
            filters = body["flow_runs"]
            if "parent_flow_run_id" in filters:
                return 200, []
            return 200, [run for run in self.runs.values() if filters["name"]["like_"] in run["name"]]
        if path == "artifacts/filter":
            filters = body["artifacts"]
            artifacts = self.reports if filters["type"]["any_"] == ["markdown"] else {}
            runs = filters["flow_run_id"]["any_"]
            return 200, [{"flow_run_id": run, "data": artifacts[run]} for run in runs if run in artifacts]
        return 404, {"detail": f"no route {path}"}
