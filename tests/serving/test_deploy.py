"""What deploy/ ships agrees with itself, with the schemas of Compose and Kubernetes, and with what `llave serve` is."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from llave.cli.parsing import parse
from llave.cli.serve import ServeConfig
from llave.cli.serve_check import check
from llave.serving.routes.status import OPEN
from llave.serving.run import CLOSING
from tests.serving.running import Running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
MANIFESTS: list[dict[str, Any]] = [
    document
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
NGINX = (DEPLOY / "nginx.conf").read_text()
SERVERS = [name for name in COMPOSE["services"] if name.startswith("llave-")]
FOREIGN = {"ServiceMonitor"}
"""Kinds of operators, which Kubernetes' own schemas do not have."""


def manifest(kind: str) -> dict[str, Any]:
    [found] = [each for each in MANIFESTS if each["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = manifest("Deployment")["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    [found] = pod()["containers"]
    return dict(found)


def parsed(words: list[str]) -> ServeConfig:
    """As `llave` would, from the words after it."""
    command, *rest = words
    assert command == "serve"
    config = parse(ServeConfig, rest, command="serve", description="", positional=("model+",), repeated=("rerank",))
    check(config)
    return config


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


@pytest.mark.parametrize("document", MANIFESTS, ids=lambda each: each["kind"])
def test_kubernetes_takes_the_manifests(document: dict[str, Any]) -> None:
    if document["kind"] not in FOREIGN:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_compose_takes_its_file() -> None:
    linter = Path(sys.executable).parent / "check-jsonschema"
    words = ["--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml"]
    done = subprocess.run([linter, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_server_takes_its_arguments() -> None:
    settings = [parsed(container()["args"]), *(parsed(COMPOSE["services"][name]["command"]) for name in SERVERS)]
    assert len(settings) == 4
    assert {config.host for config in settings} == {"0.0.0.0"}
    assert all(config.api_keys_file for config in settings)


def test_a_pod_is_asked_where_it_answers(server: Running) -> None:
    [port] = container()["ports"]
    assert port["containerPort"] == parsed(container()["args"]).port
    paths = set()
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container()[name]["httpGet"]
        assert probe["port"] == port["name"]
        assert probe["path"] in OPEN  # without a key, under any name
        assert server.client.get(probe["path"], headers={"host": "10.0.0.1"}).status_code == 200
        paths.add(probe["path"])
    assert paths == set(OPEN)
    for name in SERVERS:
        command = COMPOSE["services"][name]["healthcheck"]["test"]
        config = parsed(COMPOSE["services"][name]["command"])
        [(asked, path)] = re.findall(r"http://127\.0\.0\.1:(\d+)(/[a-z/]+)", " ".join(command))
        assert (int(asked), path in OPEN) == (config.port, True)


def test_nobody_is_killed_while_it_drains() -> None:
    config, hook = parsed(container()["args"]), container()["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "sleep"
    needed = float(hook[1]) + config.timeout + config.drain_seconds + CLOSING
    assert pod()["terminationGracePeriodSeconds"] >= needed
    for name in SERVERS:
        config = parsed(COMPOSE["services"][name]["command"])
        given = seconds(COMPOSE["services"][name]["stop_grace_period"])
        assert given >= config.timeout + config.drain_seconds + CLOSING


def test_the_autoscaler_asks_for_a_metric_that_is_there(server: Running) -> None:
    [metric] = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name == "llave_queue_items"
    assert re.search(rf"^{name} \d", server.client.get("/metrics").text, re.MULTILINE)
    values = yaml.safe_load(manifest("ConfigMap")["data"]["values.yaml"])
    [rule] = values["rules"]["custom"]
    assert rule["seriesQuery"].startswith(name + "{")
    assert re.fullmatch(rule["name"]["matches"], name)
    assert rule["name"]["as"] == name
    [endpoint] = manifest("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in manifest("Service")["spec"]["ports"]}
    assert server.client.get(endpoint["path"]).status_code == 200
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifest("Deployment")["metadata"]["name"])


def test_all_name_the_same_pods_and_secrets() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"] == labels
    for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor"):
        assert manifest(kind)["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["metadata"]["labels"] == labels  # which the ServiceMonitor selects
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert volumes.keys() == {mount["name"] for mount in mounts.values()}
    claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest("PersistentVolumeClaim")["metadata"]["name"]
    keys = manifest("ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    file = parsed(container()["args"]).api_keys_file
    assert file is not None
    assert keys == {"name": volumes["keys"]["secret"]["secretName"], "key": file.name}
    assert mounts[str(file.parent)]["name"] == "keys"
    budget = manifest("HorizontalPodAutoscaler")["spec"]
    assert budget["minReplicas"] > manifest("PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_nobody_is_root_or_writes_beside_its_tmp() -> None:
    assert re.search(r"^USER 1000$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert pod()["securityContext"]["runAsUser"] == 1000
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    folders = [each["value"] for each in container()["env"]]
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert not service["user"].startswith("0"), name
        assert service["tmpfs"][0].startswith("/tmp:"), name
        folders += service.get("environment", {}).values()
    assert all(folder.startswith("/tmp/") for folder in folders)
    assert not [path for path in re.findall(r"(?:_temp_path|pid) (\S+);", NGINX) if not path.startswith("/tmp/")]


def test_nginx_knows_the_servers_and_their_bounds() -> None:
    config = parsed(COMPOSE["services"][SERVERS[0]]["command"])
    named = re.findall(r"^ +server ([\w-]+):(\d+) ", NGINX, re.MULTILINE)
    assert named == [(name, str(config.port)) for name in SERVERS]
    assert re.findall(r"client_max_body_size (\d+)m;", NGINX) == [str(config.max_body_mb)]
    assert float(re.findall(r"proxy_read_timeout (\d+)s;", NGINX)[0]) > config.timeout
    [listens] = re.findall(r"listen (\d+);", NGINX)
    assert COMPOSE["services"]["nginx"]["ports"] == [f"127.0.0.1:{listens}:{listens}"]
    assert set(COMPOSE["services"]["nginx"]["depends_on"]) == set(SERVERS)
