"""Which tools a caller is given."""

from __future__ import annotations

import pytest

from api.mcp.tools import TOOLS
from mindset.auth.caller import Caller, as_principals
from mindset.config.scopes import Scope


@pytest.mark.parametrize(
    ("scopes", "tools"),
    [
        ([], []),
        ([Scope.FEEDBACK], []),
        ([Scope.ASK], ["ask", "list_knowledge_bases"]),
        ([Scope.SEARCH], ["search", "list_knowledge_bases"]),
        ([Scope.READ], ["get_document", "list_knowledge_bases", "list_releases", "index_health"]),
        ([Scope.RELEASE], ["compare_versions", "promote", "roll_back"]),
        ([Scope.OPERATE], ["compare_versions", "get_night", "start_night"]),
        ([Scope.ADMIN], list(TOOLS)),
    ],
)
def test_a_caller_is_given_the_tools_of_its_scopes(scopes: list[Scope], tools: list[str]) -> None:
    caller = Caller("key:1", frozenset(scopes), as_principals(()))
    assert [name for name, tool in TOOLS.items() if tool.allowed_to(caller)] == tools


def test_every_tool_that_changes_something_waits_for_confirmation() -> None:
    for tool in TOOLS.values():
        assert ("confirmation" in tool.arguments.model_fields) is tool.changes
        assert tool.changes or not tool.destroys
        if tool.changes:
            assert tool.arguments.model_fields["confirmation"].default is None
