"""The manifests fit the schemas of Kubernetes and KEDA, and each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from uv import find_uv_bin

from tests.deploy.conftest import DEPLOY
from tests.deploy.stack import xagent

FOLDER = DEPLOY / "kubernetes"
LISTED = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
MANIFESTS = [
    manifest for name in LISTED for manifest in yaml.safe_load_all((FOLDER / name).read_text("utf-8")) if manifest
]
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "StatefulSet")
}


def of_kind(*kinds: str) -> list[dict]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] in kinds]


def named(manifest: dict) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


BUILT_IN = [manifest for manifest in MANIFESTS if "keda.sh" not in manifest["apiVersion"]]


@pytest.mark.parametrize("manifest", BUILT_IN, ids=named)
def test_kubernetes_takes_it(manifest):
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_kubernetes_would_refuse_a_field_that_there_is_not():
    (worker,) = [manifest for manifest in MANIFESTS if named(manifest) == "Deployment/worker"]
    wrong = worker | {"spec": worker["spec"] | {"replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


READ_BACK = """
import json, sys
from cloudcoil.models.keda.v1alpha1 import ScaledObject

for line in sys.stdin:
    try:
        read = ScaledObject.model_validate(json.loads(line))
        print(json.dumps(read.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)))
    except ValueError as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.slow
def test_keda_takes_the_scaled_object():
    """By models that are generated from its custom resource definition; in an environment of their own.

    They bring a pytest plugin that cannot be loaded without further packages.
    """
    (scaled,) = of_kind("ScaledObject")
    wrong = scaled | {"spec": {"triggers": []}}
    command = [find_uv_bin(), "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    command += ["--with", "cloudcoil-models-keda==2.16.1.0", "python", "-c", READ_BACK]
    lines = "\n".join(json.dumps(each) for each in (scaled, wrong))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read, refused = map(json.loads, done.stdout.splitlines())
    # The models take what they do not know: what they have understood must be all that there is.
    assert read == scaled
    assert "spec.scaleTargetRef" in refused


def test_kubernetes_takes_the_behaviour_that_keda_passes_on():
    (scaled,) = of_kind("ScaledObject")
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    of_the_same_kind = {"scaleTargetRef": {"kind": "Deployment", "name": "worker"}, "maxReplicas": 2}
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}}
    kubernetes_validate.validate(hpa | {"spec": of_the_same_kind | {"behavior": behavior}}, "1.33", strict=True)


def test_the_listed_files_are_all_that_there_are():
    others = {"kustomization.yaml"}
    assert {file.name for file in FOLDER.glob("*.yaml")} == {*LISTED, *others}


def test_selectors_find_pods():
    labels = {name: pod["metadata"]["labels"] for name, pod in PODS.items()}
    assert set(labels) == {"redis", "worker", "exporter", "api"}
    for manifest in of_kind("Deployment", "StatefulSet", "PodDisruptionBudget"):
        assert manifest["spec"]["selector"]["matchLabels"] == labels[manifest["metadata"]["name"]]
    for manifest in of_kind("Service"):
        name = manifest["metadata"]["name"]
        assert manifest["spec"]["selector"] == labels[name]
        ports = {port["name"] for container in PODS[name]["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= ports
    for manifest in of_kind("ScaledObject", "HorizontalPodAutoscaler"):
        assert manifest["spec"]["scaleTargetRef"]["name"] in labels


@pytest.mark.parametrize("name", PODS)
def test_each_container_is_limited_and_asked_for_its_health(name):
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert {"livenessProbe", "readinessProbe"} <= container.keys()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        # What is added holds in the pod's own user namespace, and nowhere else.
        if container["securityContext"]["capabilities"].get("add"):
            assert pod["hostUsers"] is False
        else:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert "privileged" not in container["securityContext"]
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_secrets_are_those_that_the_script_makes(tmp_path):
    subprocess.run(["sh", DEPLOY / "make-secrets.sh", tmp_path], check=True)
    made = {file.name for file in tmp_path.iterdir()}
    for pod in PODS.values():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] == "xagent"
                assert {item["key"] for item in volume["secret"]["items"]} <= made


@pytest.mark.parametrize("name", ["worker", "exporter", "api"])
def test_the_arguments_are_ones_that_xagent_has(name):
    (container,) = PODS[name]["spec"]["containers"]
    done = subprocess.run([*xagent(*container["args"]), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_ports_that_are_asked_are_open():
    for pod in PODS.values():
        for container in pod["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {})
                for kind in ("httpGet", "tcpSocket"):
                    if kind in asked:
                        assert asked[kind]["port"] in ports


def test_prometheus_takes_the_jobs(program, tmp_path):
    """Debian's Prometheus was built without Kubernetes, so the pods are left out."""
    config = yaml.safe_load((FOLDER / "scrape.yml").read_text("utf-8"))
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["xagent"]}}]
    (tmp_path / "scrape.yml").write_text(yaml.safe_dump(config), "utf-8")
    command = [program("promtool"), "check", "config", "--syntax-only", "scrape.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = (DEPLOY / "prometheus/alerts.yml").read_text("utf-8")
    assert {job["job_name"] for job in config["scrape_configs"]} == set(re.findall(r'up\{job="(.+?)"\}', alerts))
