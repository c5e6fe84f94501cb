"""What the tests of several plugins share: a real Redis, and which part of the queues' suite is slow.

It lies here and not beside the queues, so that `pip install ./plugins/queues/*` meets distributions alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xagent_core.testing.queues.failures import LostWorkers
from xagent_core.testing.redis import RedisServer


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this process's tests."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Workers that are processes, and the leases of dead ones, take seconds."""
    if item.path.parts[-4] != "queues":
        return
    if getattr(item, "originalname", "") in vars(LostWorkers):
        item.add_marker(pytest.mark.slow)
    if isinstance(item, pytest.Function) and item.cls is not None:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.parts[-3]}-{item.cls.__name__}"))
