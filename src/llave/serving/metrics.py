"""What Prometheus reads. Labels are routes, kinds and statuses: bounded, and never anything that a client sent."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["METHODS", "Metrics"]

METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "llave_requests_total", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "llave_request_seconds", "From a request's first byte to its answer.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.items = Counter("llave_items_total", "Items asked for.", ["kind", "outcome"], registry=self.registry)
        self.tokens = Counter("llave_tokens_total", "Tokens of the items encoded.", registry=self.registry)
        self.deduplicated = Counter(
            "llave_items_deduplicated_total", "Items that shared the work of an equal one.", registry=self.registry
        )
        self.cancelled = Counter(
            "llave_requests_cancelled_total", "Requests whose client went away.", registry=self.registry
        )
        self.waited = Histogram(
            "llave_queue_wait_seconds", "An item's time in the queue.", buckets=SECONDS, registry=self.registry
        )
        self._batch_items = Histogram(
            "llave_batch_items", "Items of a batch.", ["kind"], buckets=SIZES, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "llave_batch_seconds", "A batch's time in the model.", ["kind"], buckets=SECONDS, registry=self.registry
        )

        self.replica_batches = Counter(
            "llave_replica_batches_total", "Batches by model process.", ["replica"], registry=self.registry
        )
        self.replica_busy = Counter(
            "llave_replica_busy_seconds_total", "Time in batches by model process.", ["replica"], registry=self.registry
        )
        self.replica_items = Gauge(
            "llave_replica_items", "Items in work by model process.", ["replica"], registry=self.registry
        )
        self.replica_ends = Counter(
            "llave_replica_ends_total", "Model processes that ended by themselves, were killed or did not load.",
            ["replica"], registry=self.registry,
        )  # fmt: skip

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that asks when it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def batch(self, modality: str, items: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_items.labels(modality).observe(items)
        self._batch_seconds.labels(modality).observe(seconds)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the route's template."""
        self.requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
