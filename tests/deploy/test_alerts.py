"""Each alert fires when it should, goes to somebody, and has an entry in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.conftest import DEPLOY

RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
RUNBOOK = (DEPLOY.parent / "docs/runbook.md").read_text("utf-8")


def run(*command: object, cwd=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_rules_and_the_configurations_are_valid(program, deploy):
    promtool = program("promtool")
    for command in (
        (promtool, "check", "rules", "alerts.yml"),
        (promtool, "check", "config", "--syntax-only", "prometheus.yml"),
        (program("amtool"), "check-config", deploy / "alertmanager/alertmanager.yml"),
    ):
        done = run(*command, cwd=deploy / "prometheus")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_tests_of_the_alerts_pass(program, deploy):
    done = run(program("promtool"), "test", "rules", "alerts_test.yml", cwd=deploy / "prometheus")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("alert", ALERTS)
def test_the_unit_tests_notice_an_alert_that_never_fires(alert, program, deploy, tmp_path):
    rules = yaml.safe_load((deploy / "prometheus/alerts.yml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules), "utf-8")
    shutil.copy(deploy / "prometheus/alerts_test.yml", tmp_path)
    done = run(program("promtool"), "test", "rules", "alerts_test.yml", cwd=tmp_path)
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_severity_a_summary_and_an_entry_in_the_runbook(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"
    entry = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert entry, f"{alert} has no entry"
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in entry[1]


def test_the_runbook_knows_no_alert_that_there_is_not():
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)
    anchors = {target.lower() for target in re.findall(r"\]\(#(\w+)\)", RUNBOOK)}
    assert anchors <= {alert.lower() for alert in ALERTS}


@pytest.mark.parametrize(
    ("labels", "receiver"), [(["severity=critical"], "on-call"), (["severity=warning"], "chat"), ([], "chat")]
)
def test_alerts_go_where_they_belong(labels, receiver, program, deploy):
    config = deploy / "alertmanager/alertmanager.yml"
    done = run(program("amtool"), "config", "routes", "test", "--config.file", config, "alertname=X", *labels)
    assert done.stdout.strip() == receiver


def test_what_alertmanager_silences_are_alerts_that_there_are(deploy):
    config = yaml.safe_load((deploy / "alertmanager/alertmanager.yml").read_text("utf-8"))
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            name, operator, value = re.fullmatch(r'(\w+) (=~?) "?(.*?)"?', matcher).groups()
            assert name == "alertname"
            for part in value.split("|") if operator == "=~" else [value]:
                assert any(re.fullmatch(part, alert) for alert in ALERTS), part
