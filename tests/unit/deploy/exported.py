"""What Prometheus sees of the product, and what an expression reads of that."""

import re

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from moderation.metrics import DriftMetrics, Metrics, QueueMetrics, WebhookMetrics
from moderation.quality.exporter import QualityMetrics
from moderation.review.metrics import WaitingMetrics

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
# What Prometheus adds.
_TARGET = {"job", "instance"}


def exported() -> dict[str, set[str]]:
    """Every series of the product by its name, with its labels."""
    registry = CollectorRegistry()
    for add in (QueueMetrics, WebhookMetrics, DriftMetrics, WaitingMetrics, QualityMetrics):
        add(registry)
    collectors = [*Metrics().registry._collector_to_names, *registry._collector_to_names]
    names: dict[str, set[str]] = {}
    for collector in collectors:
        if not isinstance(collector, MetricWrapperBase):
            continue
        labels = set(collector._labelnames)
        for suffix in _SUFFIXES[collector._type]:
            names[f"{collector._name}{suffix}"] = labels | (
                {"le"} if suffix == "_bucket" else set()
            )
    return names


def read(expression: str) -> list[tuple[str, set[str]]]:
    """The product's metrics that an expression names, each with the labels it asks for."""
    found = re.findall(r"(captionguard_[a-z_]+)(?:\{([^}]*)\})?", expression)
    return [
        (name, set(re.findall(r"(\w+)\s*[=!]", selector)) - _TARGET) for name, selector in found
    ]


def recorded(expression: str) -> set[str]:
    """The recorded series that an expression names."""
    return set(re.findall(r"captionguard:[a-z0-9_:]+", expression))
