"""`xagent bench` on a real engine: what a user reads of their own machine."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.engine("bubblewrap")


def test_it_measures_ways_and_loads_and_compares_with_the_bare_interpreter(xagent):
    xagent.env |= {"XAGENT_DISABLED_PLUGINS": "xagent-fake,docker,podman"}
    done = xagent("bench", "--language", "python", "--rounds", "1", "--seconds", "0.1", "--json")
    document = json.loads(done.stdout)
    ways = {(row["engine"], row["way"]): row for row in document["latencies"]}
    assert set(ways) == {
        ("bare", "no sandbox"),
        ("bubblewrap", "xagent, pool full"),
        ("bubblewrap", "xagent, pool empty"),
    }
    assert ways["bare", "no sandbox"]["times bare"] == 1
    assert all(0 < row["p50 ms"] <= row["p95 ms"] <= row["p99 ms"] for row in ways.values())
    assert [(load["at once"], load["a second"] > 0) for load in document["sustained"]] == [
        (1, True),
        (4, True),
        (16, True),
    ]
    assert document["failures"] == []


def test_without_a_backend_it_says_who_knows_why(xagent):
    xagent.env |= {"XAGENT_DISABLED_PLUGINS": "xagent-fake,docker,podman,bubblewrap"}
    done = xagent("bench", "--language", "python")
    assert done.stderr == b"xagent: bench: no backend can be used here. `xagent doctor` says why.\n"
    assert done.returncode == 125
