"""`xagent plugins check docket`: what its author sees before a test has run."""

from __future__ import annotations

import subprocess
import sys


def test_a_server_that_is_away_is_one_error_before_any_test():
    # Nothing listens on port 1.
    command = [sys.executable, "-m", "xagent_core.cli", "plugins", "check", "docket", "--url", "redis://127.0.0.1:1/0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("xagent: redis://127.0.0.1:1/0: the queue's server does not answer: ")
    assert done.stderr.count("\n") == 1
