"""Starts for real what deploy/compose.yaml starts, as processes of this machine: all but Grafana, and on free ports.

The configurations are the deployed ones, with other addresses and shorter times.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SHORT = {"group_wait": "0s", "group_interval": "1s"}


class Listener:
    """What is told from outside: Alertmanager's messages to the chat, and spans by OTLP."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.traces: dict[bytes, dict[str, Any]] = {}
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        for span in (span for scope in resource.scope_spans for span in scope.spans):
                            listener.traces.setdefault(span.trace_id, {})[span.name] = span
                else:
                    listener.messages.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Stack:
    """The processes, and how to ask them."""

    def __init__(self, folder: Path, program: Callable[[str], str], deploy: Path) -> None:
        self.folder = folder
        self.deploy = deploy
        self._program = program
        self._services = yaml.safe_load((deploy / "compose.yaml").read_text("utf-8"))["services"]
        names = ("redis", "worker", "health", "exporter", "api", "prometheus", "alertmanager")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.secrets = folder / "secrets"
        subprocess.run(["sh", deploy / "make-secrets.sh", self.secrets], check=True)
        self.token = (self.secrets / "api_token").read_text()
        self.config = folder / "config.toml"
        self.config.write_text(self.here((self.secrets / "xagent_config").read_text()))
        self._all = contextlib.ExitStack()

    def here(self, text: str) -> str:
        """Text of the composition, with the places of this machine in it."""
        places = {
            "$$": "$",
            "/etc/redis.conf": str(self.deploy / "redis.conf"),
            "redis:6379": self.address("redis"),
            "dir /data": f"dir {self.folder}",
            "/run/secrets": str(self.secrets),
            "redis-server -": f"redis-server - --port {self.ports['redis']} --bind 127.0.0.1",
            "redis-cli": f"redis-cli -p {self.ports['redis']}",
            "127.0.0.1:9463": self.address("health"),
            "0.0.0.0:9464": self.address("worker"),
            "0.0.0.0:9465": self.address("exporter"),
            "127.0.0.1:9465": self.address("exporter"),
            "127.0.0.1:8000": self.address("api"),
        }
        for deployed, place in places.items():
            text = text.replace(deployed, place)
        return text

    def command(self, name: str) -> list[str]:
        """What a service runs, on the backend that needs no daemon."""
        words = [self.here(word) for word in self._services[name]["command"]]
        return ["bubblewrap" if word == "docker" else word for word in words]

    def is_healthy(self, name: str) -> bool:
        """What a service's health check says."""
        kind, *words = self._services[name]["healthcheck"]["test"]
        command = ["sh", "-c", self.here(words[0])] if kind == "CMD-SHELL" else [self.here(word) for word in words]
        command = [sys.executable if word == "python3" else word for word in command]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            starting.push(self._all)
            self.listener = self._all.enter_context(Listener())
            self._start()
            starting.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.close()

    def _start(self) -> None:
        for name in ("redis-server", "redis-cli"):
            self._program(name)
        self._run("redis", *self.command("redis"))
        self.wait_for(lambda: self.is_healthy("redis"))
        self._run("exporter", *xagent(*self.command("exporter"), "--every", "0.2"))
        self._run("worker", *xagent(*self.command("worker"), "--concurrency", "2"),
                  XAGENT_METRICS_ADDRESS=self.address("worker"))  # fmt: skip
        host, port = self.command("api").index("0.0.0.0"), self.command("api").index("8000")
        serve = self.command("api")
        serve[host], serve[port] = "127.0.0.1", str(self.ports["api"])
        self._run("api", *xagent(*serve))
        self._start_alertmanager()
        self._start_prometheus()

    def _start_alertmanager(self) -> None:
        (self.folder / "slack_url").write_text(f"{self.listener.url}/chat")
        config = yaml.safe_load((self.deploy / "alertmanager/alertmanager.yml").read_text("utf-8"))
        config["global"]["slack_api_url_file"] = str(self.folder / "slack_url")
        config["route"] |= SHORT
        for route in config["route"]["routes"]:
            route.update(SHORT)
        self._run("alertmanager", self._program("prometheus-alertmanager"), f"--config.file={self.write(config)}",
                  f"--storage.path={self.folder}/alertmanager", "--cluster.listen-address=",
                  f"--web.listen-address={self.address('alertmanager')}")  # fmt: skip

    def _start_prometheus(self) -> None:
        config = yaml.safe_load((self.deploy / "prometheus/prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(self.deploy / "prometheus/alerts.yml")]
        config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [self.address("alertmanager")]}]
        for job in config["scrape_configs"]:
            name = job["job_name"].removeprefix("xagent-")
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [self.address(name)]}]
            if "authorization" in job:
                job["authorization"]["credentials_file"] = str(self.secrets / "api_token")
        options = {"config.file": self.write(config), "storage.tsdb.path": self.folder / "tsdb",
                   "web.listen-address": self.address("prometheus")}  # fmt: skip
        self._run("prometheus", self._program("prometheus"), *(f"--{name}={value}" for name, value in options.items()))

    def _run(self, name: str, *command: str, **environment: str) -> None:
        """Starts a process that is ended with the stack."""
        errors = self._all.enter_context((self.folder / f"{name}.log").open("wb"))
        env = self.environment() | environment
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=env)
        self._all.callback(end, process)

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "XAGENT_QUEUE": "docket",
            "XAGENT_CONFIG": str(self.config),
            "XAGENT_LOG_FORMAT": "json",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.listener.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def write(self, config: object) -> Path:
        path = self.folder / f"{id(config)}.yml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    def log(self, name: str) -> list[str]:
        return (self.folder / f"{name}.log").read_text("utf-8").splitlines()

    def xagent(self, *arguments: str) -> str:
        """Runs a command as a user does, and returns what it prints."""
        command = xagent(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers now."""
        arguments = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.address('prometheus')}/api/v1/query?{arguments}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def answers(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers as soon as it has something: a scrape that took too long leaves it without."""
        found: list[dict[str, Any]] = []
        self.wait_for(lambda: found.extend(self.query(expression)) or found)
        return found

    def value(self, expression: str) -> float:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0

    def wait_for(self, condition: Callable[[], object], seconds: float = 120) -> None:
        """Asks until the answer is yes."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            if time.monotonic() > end:
                logs = {file.name: file.read_text("utf-8", "replace")[-1500:] for file in self.folder.glob("*.log")}
                raise TimeoutError("\n".join(f"--- {name}\n{text}" for name, text in logs.items()))
            time.sleep(0.3)


def xagent(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "xagent_core.cli", *arguments]


def free_ports(number: int) -> list[int]:
    """Ports that nobody has, and that the system gives to nobody who wants any: the next moment they are free still."""
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    ports = random.sample(range(10_000, given_from), given_from - 10_000)
    return list(itertools.islice(filter(_is_free, ports), number))


def _is_free(port: int) -> bool:
    with socket.socket() as one, contextlib.suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
