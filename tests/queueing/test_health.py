"""The endpoint answers in whole, or says in the log why it could not; it prints nothing."""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
import urllib.request

import pytest

from xagent_core import ConfigError
from xagent_core.queueing.health import Answer, HealthServer


def logged(caplog, level: int) -> list[logging.LogRecord]:
    """Records of that level; the endpoint has a thread of its own, which may take its time."""
    deadline = time.monotonic() + 20
    while not (found := [record for record in caplog.records if record.levelno == level]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("error", "level"), [(BrokenPipeError("gone"), logging.DEBUG), (ValueError("a mistake of ours"), logging.ERROR)]
)
def test_what_goes_wrong_is_logged_and_not_printed(error, level, caplog, capfd):
    def fail() -> Answer:
        raise error

    caplog.set_level(logging.DEBUG, logger="xagent_core.queueing.health")
    with HealthServer("127.0.0.1:0", {"/": fail}) as server:
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=20)
        (record,) = logged(caplog, level)
    assert record.exc_info[1] is error
    assert capfd.readouterr().err == ""


def test_it_listens_by_ipv6_where_the_address_says_so():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    with HealthServer("[::1]:0", {"/": lambda: Answer(status=200, body="well")}) as server:
        with urllib.request.urlopen(f"http://[::1]:{server.port}/", timeout=20) as answer:
            assert answer.read() == b"well"
        with pytest.raises(ConfigError, match=rf" \[::1\]:{server.port} cannot be used: Address already in use"):
            HealthServer(f"[::1]:{server.port}", {}).__enter__()
