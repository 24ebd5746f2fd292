"""What the routes share: the model once it is loaded, the queue, and whether the server takes requests."""

from dataclasses import dataclass

from llave.serving.admission import Admission
from llave.serving.batcher import Batcher
from llave.serving.catalogue import Catalogue
from llave.serving.engine import Engine
from llave.serving.errors import ApiError
from llave.serving.limits import Limits
from llave.serving.media import Media
from llave.serving.metrics import Metrics

__all__ = ["Service"]


@dataclass(slots=True, kw_only=True)
class Service:
    """One server.

    Args:
        in_flight: requests being answered, by the outermost gate.
    """

    limits: Limits
    metrics: Metrics
    admission: Admission
    media: Media
    catalogue: Catalogue | None = None
    engine: Engine | None = None
    batcher: Batcher | None = None
    draining: bool = False
    in_flight: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        searches = self.catalogue is None or self.catalogue.watched.is_there
        return self.engine is not None and searches and not self.draining

    def model(self) -> tuple[Engine, Batcher]:
        """The model and its queue.

        Raises:
            ApiError: 503, not loaded yet.
        """
        if self.engine is None or self.batcher is None:
            raise ApiError(503, "the model is being loaded; try again soon", code="loading", retry_after=2)
        return self.engine, self.batcher
