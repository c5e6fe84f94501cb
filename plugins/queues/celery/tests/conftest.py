"""A real Redis for the tests of the queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xagent_core.testing.redis import RedisServer


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()
