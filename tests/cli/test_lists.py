"""`backends`, `languages`, `plugins list`, `clean`: what is installed, for readers and for programs."""

from __future__ import annotations

import json


def lines(done):
    return [" ".join(line.split()) for line in done.stdout.decode().splitlines()]


def test_languages(xagent):
    done = xagent("languages")
    assert done.returncode == 0
    assert "plain pl, pln .plain .pln xagent-fake" in lines(done)


def test_languages_as_json(xagent):
    assert json.loads(xagent("languages", "--json").stdout)[1] == {
        "name": "plain",
        "summary": "JSON",
        "aliases": ["pl", "pln"],
        "extensions": [".plain", ".pln"],
        "image": "",
        "distribution": "xagent-fake",
    }


def test_backends_say_what_they_hold_and_what_is_the_matter(xagent):
    done = xagent("backends", FAKE_LIMITS="memory")
    assert done.returncode == 0
    assert "fake xagent-fake yes 1.0 memory" in lines(done)
    assert "asleep: the daemon sleeps. Wake it." in lines(done)


def test_backends_as_json_come_in_the_order_of_auto(xagent):
    asleep, fake = json.loads(xagent("backends", "--json", FAKE_LIMITS="memory").stdout)
    assert (asleep["name"], asleep["available"], asleep["capabilities"]) == ("asleep", False, None)
    assert (asleep["detail"], asleep["fix"]) == ("the daemon sleeps", "Wake it.")
    assert (fake["name"], fake["available"], fake["version"]) == ("fake", True, "1.0")
    assert fake["capabilities"]["limits"] == ["memory"]
    assert fake["capabilities"]["how"] == {"memory": "cgroup v9"}


CRASHING = """
from xagent_core import BackendRegistration, hookimpl

@hookimpl
def xagent_register_backends():
    return [BackendRegistration(name="crashing", summary="", factory=lambda options: 1 / 0)]
"""


def test_a_backend_that_breaks_its_contract_keeps_no_other_from_being_listed(xagent):
    xagent.install("xagent-crashing", "crashing", CRASHING)
    done = xagent("backends")
    assert done.returncode == 0
    assert "fake xagent-fake yes 1.0 cpus, memory, processes, scratch" in lines(done)
    assert any(line.startswith("crashing: its plugin failed: ZeroDivisionError") for line in lines(done))


def test_plugins_list_shows_what_works_and_what_does_not(xagent):
    xagent.install("xagent-broken", "broken_plugin", "import nowhere_to_be_found")
    xagent.install("xagent-twin", "twin", (xagent.site / "fake_plugin.py").read_text())
    xagent.install("xagent-off", "off", "raise SystemExit")
    done = xagent("plugins", "list", XAGENT_DISABLED_PLUGINS=f"{xagent.env['XAGENT_DISABLED_PLUGINS']},off")
    assert done.returncode == 0
    shown = lines(done)
    assert any(line.startswith("xagent-fake 2.5 fake_plugin backend asleep, backend fake, language") for line in shown)
    assert (
        "xagent-broken 2.5 (entry point broken_plugin): ModuleNotFoundError: No module named 'nowhere_to_be_found'"
        in shown
    )
    assert "backend fake is provided by xagent-fake and by xagent-twin" in shown
    assert "xagent-off 2.5 (entry point off)" in shown


def test_plugins_list_as_json(xagent):
    xagent.install("xagent-broken", "broken_plugin", "import nowhere_to_be_found")
    document = json.loads(xagent("plugins", "list", "--json").stdout)
    assert document["plugins"][0] == {
        "name": "fake_plugin",
        "distribution": "xagent-fake",
        "version": "2.5",
        "provides": ["backend asleep", "backend fake", "language plain", "language built"],
    }
    assert document["broken"][0]["distribution"] == "xagent-broken"
    assert document["duplicates"] == []


def test_clean_says_what_it_removed(xagent):
    done = xagent("clean")
    assert (done.returncode, done.stdout) == (0, b"fake: old-sandbox (owner is dead)\n")
    assert done.stderr == b"xagent: asleep: not looked at, since it cannot be used: the daemon sleeps\n"
    assert xagent.note == "closed, alive: 0\n"


def test_clean_as_json(xagent):
    document = json.loads(xagent("clean", "--json").stdout)
    assert document == {
        "removed": {"fake": ["old-sandbox (owner is dead)"]},
        "not_looked_at": {"asleep": "the daemon sleeps"},
        "failed": [],
    }
