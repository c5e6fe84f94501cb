"""What the tests of the queues' parts share."""

import pytest

from xagent_core.testing.queues.rig import Rig


@pytest.fixture
async def rig():
    async with Rig.made("docket", {"url": "memory://"}) as rig:
        yield rig
