"""The suite of task queues, for authors of carriers.

    class TestMyQueue(QueueConformance):
        @pytest.fixture(scope="class")
        @classmethod
        def queue(cls, redis):
            return "mine", {"url": redis.url()}

`queue` gives the registered name and the options of `get_queue`. The sandboxes are fakes, so no engine is needed;
some workers are processes of their own, which find the queue by its entry point. Calls of tools need the extra `tools`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from xagent_core.testing.queues.calls import Calls
from xagent_core.testing.queues.failures import Failures, LostWorkers
from xagent_core.testing.queues.jobs import Jobs
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.suite import required_fixture

__all__ = ["QueueConformance"]


class QueueConformance(Jobs, Calls, Failures, LostWorkers, suite=True, fixtures=("queue",)):
    """What every task queue does, whatever engine carries its messages."""

    queue = required_fixture("the queue's registered name, and options of `get_queue` such as its `url`")

    @pytest_asyncio.fixture(loop_scope="class")
    async def rig(self, queue: tuple[str, dict[str, Any]]) -> AsyncIterator[Rig]:
        """The queue with a prefix of its own."""
        async with Rig.made(*queue) as rig:
            yield rig
