"""Runs the whole benchmark and writes `docs/performance.md`: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import shutil
import statistics
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.bare import bare_subjects
from benchmarks.footprint import closing_seconds, footprint
from benchmarks.machine import load, machine
from benchmarks.peers.image import peer_image
from benchmarks.peers.subjects import PEERS, PeerSubject, installed
from benchmarks.raw_bwrap import LimitedBwrap, RawBwrap
from benchmarks.raw_docker import NO_NETWORK, DockerRun, RawDocker, SdkLoop, image_and_spec
from benchmarks.raw_podman import PodmanRun, RawPodman
from benchmarks.report import write
from benchmarks.results import Results
from benchmarks.subjects import SAMPLES, engine_subjects
from benchmarks.throughput import RIVALS, pace, sustained
from xagent_core.benchmark.measure import measure
from xagent_core.benchmark.subjects import Subject
from xagent_core.errors import XAgentError

logger = logging.getLogger("benchmarks")

_CONSUMERS: Final = (1, 4, 16)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of the latencies (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4, help="per side and concurrency of sustained load (default: %(default)s)"
    )
    parser.add_argument("--backends", nargs="*", default=["docker", "podman", "bubblewrap"])
    parser.add_argument("--languages", nargs="*", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--no-peers", action="store_true", help="leave out what is not ours")
    parser.add_argument(
        "--peers-home", type=Path, default=Path(".nox/bench-peers"), help="their environments (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("docs/performance.md"), help="the page (default: %(default)s)"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Sandboxes of other owners that are reaped meanwhile are no news here.
    logging.getLogger("xagent_core").setLevel(logging.WARNING)
    results = asyncio.run(benchmark(options))
    write(results, options.output)
    logger.info("wrote %s", options.output)


async def benchmark(options: argparse.Namespace) -> Results:
    """Measures everything that the options ask for."""
    results, began = Results(facts=machine()), time.monotonic()
    results.facts["load average before"] = load()
    await _latencies(options, results)
    for backend in options.backends:
        for part in _loads(backend, options, results):
            try:
                await part
            except XAgentError as error:
                logger.warning("%s: something is left out: %s", backend, error)
    results.facts["load average after"] = f"{load()} (the benchmark's own included)"
    results.facts["rounds"] = (
        f"{options.rounds} of latencies, {options.seconds:g} s for each sustained load, "
        f"{time.monotonic() - began:.0f} s in all"
    )
    return results


def _loads(backend: str, options: argparse.Namespace, results: Results) -> Iterator[Coroutine[Any, Any, None]]:
    """What is measured of a backend as a whole, each by itself: what cannot be is left out."""

    async def memory_and_end() -> None:
        for language in ("bash", "python"):
            found = await footprint(backend, language)
            if found is not None:
                results.footprints.append(found)
        results.closing[backend] = await closing_seconds(backend)

    async def beside(against: str, consumers: int) -> None:
        results.sustained.append(await sustained(backend, against, consumers=consumers, seconds=options.seconds))
        logger.info("%s against %s, %d at once: done", backend, against, consumers)

    async def alone(language: str, consumers: int) -> None:
        results.paces.append(await pace(backend, language, consumers=consumers, seconds=options.seconds / 2))
        logger.info("%s on %s, %d at once: done", language, backend, consumers)

    yield memory_and_end()
    for consumers in _CONSUMERS:
        for against in RIVALS.get(backend, ()):
            yield beside(against, consumers)
        for language in options.languages:
            yield alone(language, consumers)


async def _latencies(options: argparse.Namespace, results: Results) -> None:
    subjects: list[Subject] = [
        *bare_subjects(options.languages).values(),
        *engine_subjects(options.backends, options.languages),
    ]
    peers: list[PeerSubject] = []
    with contextlib.ExitStack() as stack:
        if "docker" in options.backends:
            image, spec = await image_and_spec("python")
            results.facts["image of Docker's rows, peers included"] = image
            subjects += [RawDocker(image, spec), DockerRun(image, spec)]
            subjects += [SdkLoop(image, spec, network) for network in NO_NETWORK]
            if not options.no_peers:
                given = await asyncio.to_thread(stack.enter_context, peer_image(image))
                peers = await _peers(options, given)
        if "podman" in options.backends and shutil.which("podman"):
            subjects += [RawPodman(), PodmanRun()]
        if "bubblewrap" in options.backends and shutil.which("bwrap"):
            subjects += [RawBwrap("bare bwrap"), RawBwrap("bare bwrap, nothing run", "echo", "1"), LimitedBwrap()]
        latencies, failures = await measure([*subjects, *peers], rounds=options.rounds)
        results.latencies.update(latencies)
        results.failures.update(failures)
    for peer in peers:
        if peer.version:
            results.facts[peer.name.partition(",")[0]] = peer.version
        if peer.closing:
            results.peers_closing[f"{peer.name} ({peer.group})"] = statistics.median(peer.closing)


async def _peers(options: argparse.Namespace, image: str) -> list[PeerSubject]:
    subjects = []
    for peer in PEERS:
        python = await asyncio.to_thread(installed, peer, options.peers_home.resolve())
        subjects += [
            PeerSubject(peer, mode, group, every, python=python, image=image)
            for mode, group, every in peer.modes
            if group in options.backends
        ]
    return subjects


if __name__ == "__main__":
    main()
