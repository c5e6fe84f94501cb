"""What tests of plugins import: the conformance suites, fakes, and the pytest plugin.

The suites need the extra `testing` (pytest and pytest-asyncio); `fakes` needs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xagent_core.testing.backends import BackendConformance as BackendConformance
    from xagent_core.testing.languages import LanguageConformance as LanguageConformance
    from xagent_core.testing.queues import QueueConformance as QueueConformance
    from xagent_core.testing.suite import Conformance as Conformance
    from xagent_core.testing.suite import fixed as fixed
    from xagent_core.testing.suite import required_fixture as required_fixture
    from xagent_core.testing.suite import waive as waive
    from xagent_core.testing.tools import ToolConformance as ToolConformance

_HOMES: Final = {
    "queues": "QueueConformance",
    "backends": "BackendConformance",
    "languages": "LanguageConformance",
    "suite": "Conformance fixed required_fixture waive",
    "tools": "ToolConformance",
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - the names are those of the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
