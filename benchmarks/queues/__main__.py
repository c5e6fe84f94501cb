"""Runs every trial and writes `docs/evaluations/task-queue.md`: `python -m benchmarks.queues --help`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import subprocess
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.queues.environments import SUBJECTS, Queue, environment, redis_server
from benchmarks.queues.report import write
from benchmarks.queues.upkeep import upkeep

logger = logging.getLogger("benchmarks.queues")

_ROOT: Final = Path(__file__).parents[2]
_TIMED: Final = ("latency", "noops", "waits")
_FAULTS: Final = ("cancelled", "killed", "outlasting")
_LEASE: Final = {"killed": 5, "outlasting": 5}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.queues", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of what is timed (default: %(default)s)")
    parser.add_argument("--no-faults", action="store_true", help="leave out what takes minutes of waiting")
    parser.add_argument("--home", type=Path, default=Path(".nox/bench-queues"), help="environments and logs")
    parser.add_argument("--output", type=Path, default=Path("docs/evaluations/task-queue.md"))
    parser.add_argument("--results", type=Path, help="where the figures are kept; with them there, only write the page")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.results and options.results.exists():
        results = json.loads(options.results.read_text("utf-8"))
    else:
        results = evaluate(options.home.absolute(), rounds=options.rounds, faults=not options.no_faults)
        if options.results:
            options.results.write_text(json.dumps(results, indent=1), "utf-8")
    write(results, options.output)
    logger.info("wrote %s", options.output)


def evaluate(home: Path, *, rounds: int, faults: bool) -> dict[str, Any]:
    """Everything, as JSON holds it.

    Args:
        home: For environments and logs.
        rounds: How often what is timed is measured, each time in another order.
        faults: Whether the trials that wait for minutes are run.
    """
    pythons = {queue.title: environment(queue, home) for queue in SUBJECTS}
    found: dict[str, dict[str, list[Any]]] = {queue.title: defaultdict(list) for queue in SUBJECTS}
    order = random.Random(0)  # noqa: S311
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    with redis_server(databases=len(SUBJECTS)) as (server, version):

        def trial(queue: Queue, name: str) -> None:
            logger.info("%s: %s", queue.title, name)
            address = f"{server}/{SUBJECTS.index(queue)}"
            found[queue.title][name].append(_run(queue, name, pythons[queue.title], address, home))

        for _ in range(rounds):
            turns = [(queue, name) for queue in SUBJECTS for name in _TIMED]
            order.shuffle(turns)
            for queue, name in turns:
                trial(queue, name)
        # These wait for seconds and minutes: they do not disturb each other.
        for name in _FAULTS if faults else ():
            with ThreadPoolExecutor(len(SUBJECTS)) as together:
                list(together.map(lambda queue, name=name: trial(queue, name), SUBJECTS))
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "load average before, 1 5 15 minutes": load,
        "Python": platform.python_version(),
        "Redis": version,
        "rounds": str(rounds),
        "slots": {queue.title: queue.slots for queue in SUBJECTS},
    }
    packages = {name: queue for queue in SUBJECTS for name in queue.distributions}
    kept = [asdict(upkeep(name, pythons[queue.title])) for name, queue in packages.items()]
    return {"facts": facts, "found": found, "upkeep": kept}


def _run(queue: Queue, trial: str, python: Path, address: str, home: Path) -> dict[str, Any]:
    environ = {
        "BENCH_REDIS": address,
        "BENCH_VARIANT": queue.variant,
        "BENCH_LEASE": str(_LEASE.get(trial, 15)),
        "PYTHONPATH": str(_ROOT),
    }
    log = home / "logs" / f"{queue.module}-{queue.variant}-{trial}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "benchmarks.queues.trial", queue.module, trial]
    with log.open("wb") as errors:
        done = subprocess.run(
            command, env=os.environ | environ, stdout=subprocess.PIPE, stderr=errors, timeout=400, check=False
        )
    if done.returncode != 0:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        logger.warning("%s: %s failed: %s", queue.title, trial, "".join(last))
        return {"failed": "".join(last)}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
