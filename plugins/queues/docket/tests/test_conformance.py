"""docket keeps the contract of task queues: on a real Redis, and in one process without a server."""

from __future__ import annotations

import pytest

from xagent_core.testing import QueueConformance, fixed
from xagent_core.testing.redis import RedisServer


class TestRedis(QueueConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def queue(cls, redis: RedisServer) -> tuple[str, dict[str, object]]:
        return "docket", {"url": redis.url()}


class TestMemory(QueueConformance):
    queue = fixed(("docket", {"url": "memory://"}))
