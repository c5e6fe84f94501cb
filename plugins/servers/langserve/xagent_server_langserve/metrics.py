"""Counts and times requests, and shows what anybody has registered with Prometheus's client at `/metrics`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from xagent_core.http.guard import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Metered"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metered:
    """The ASGI application around one whose requests are counted. These metrics are of HTTP alone.

    What observes executions, pools or queues registers its metrics with `prometheus_client.REGISTRY`: the same page
    shows them.

    Args:
        app: What is measured.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self._total = Counter(
            "xagent_http_requests", "Requests answered.", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "xagent_http_request_seconds",
            "Seconds from a request to the end of its answer.",
            labels,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._running = Gauge("xagent_http_requests_running", "Requests being answered.", registry=self._registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and counts it when it has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "none"  # what nobody waited for has none

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        started = time.perf_counter()
        try:
            with self._running.track_inprogress():
                await self._app(scope, receive, watched_send)
        finally:
            # A path as it was typed would make as many series as there are paths.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._total.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(time.perf_counter() - started)

    def routes(self) -> APIRouter:
        """The page that Prometheus reads."""
        router = APIRouter()

        @router.head("/metrics", include_in_schema=False)
        @router.get("/metrics")
        async def metrics() -> Response:
            text = generate_latest(REGISTRY) + generate_latest(self._registry)
            return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

        return router
