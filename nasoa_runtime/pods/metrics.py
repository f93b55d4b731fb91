"""The Prometheus metrics that every pod serves while it runs (SPEC 9)."""

from __future__ import annotations

import logging
import os

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, start_http_server

from nasoa_runtime.boundary import METRICS_PORT

log = logging.getLogger(__name__)

STEP_SECONDS = Gauge("nasoa_step_seconds", "Median seconds of a training step: forward, backward and update.")
LOADING_SECONDS = Gauge("nasoa_loading_seconds", "Median seconds a step waits for its batch.")
LOSS = Gauge("nasoa_loss", "Training loss, a moving average.")
IMAGES_PER_SECOND = Gauge("nasoa_images_per_second", "Training images a second, loading included.")
STEP = Gauge("nasoa_step", "Training steps done.")
PLANNED_STEPS = Gauge("nasoa_planned_steps", "Training steps planned; re-planned when time runs short.")
RACE_RUNNING = Gauge(
    "nasoa_race_running", "Candidates that may still win the request's race; 1 once it is decided, 0 without a race."
)
RACE_RUNG = Gauge("nasoa_race_rung", "Rung of the request's race, from 1, in which all start; 0 without a race.")
MEMORY_BYTES = Gauge("nasoa_memory_bytes", "Peak memory: the device's for a GPU, the process's for a CPU.")
PROFILED_STEP_SECONDS = Gauge(
    "nasoa_profiled_step_seconds",
    "Step time of a profiled architecture, corrected for drift.",
    ["architecture"],
)


def serve(registry: CollectorRegistry = REGISTRY) -> int | None:
    """Serve the metrics on ``POD_IP`` (127.0.0.1 without it) at ``NASOA_METRICS_PORT`` (9464 without it).

    Metrics are an aid, not a condition: an address that can't be bound is logged, and the pod goes on.

    Returns:
        The port really bound, or ``None``.
    """
    address = os.environ.get("POD_IP") or "127.0.0.1"
    port = os.environ.get("NASOA_METRICS_PORT") or str(METRICS_PORT)
    try:
        server, _ = start_http_server(int(port), addr=address, registry=registry)
    except (OSError, ValueError, OverflowError) as error:
        log.warning("No metrics: %s:%s can't be bound (%s); the run goes on.", address, port, error)
        return None
    return int(server.server_port)
