"""Sets up an exporter where the environment asks for one and the program has set up nothing itself."""

from __future__ import annotations

import os
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["set_up"]

_VARIABLE: Final = "OTEL_TRACES_EXPORTER"


def set_up() -> None:
    """Sends spans by OTLP over HTTP if `OTEL_TRACES_EXPORTER` is `otlp`; a provider that is there is left alone.

    The other variables of OpenTelemetry's specification hold too: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
    `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`. What is not sent yet is sent when the process ends.
    """
    if os.environ.get(_VARIABLE) != "otlp" or isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "xagent"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
