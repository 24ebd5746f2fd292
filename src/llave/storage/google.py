"""Google Cloud Storage: ``gs://bucket/key``.

Credentials come from where Google's own tools find them: a service account's file (``GOOGLE_APPLICATION_CREDENTIALS``),
``gcloud auth application-default login``, or the machine's own account. Nothing of them is written down or shown.
"""

from typing import TYPE_CHECKING

from llave.storage.service import checked_endpoint, first, lance_patience, patience, says

if TYPE_CHECKING:
    from obstore.store import GCSStore

__all__ = ["Google"]

ALLOW_HTTP = "GOOGLE_ALLOW_HTTP"


class Google:
    """Cloud Storage. A write that depends on what is there names a generation, which only Google has."""

    extra = "gcs"
    variables: tuple[str, ...] = ("GOOGLE_",)
    endpoint_variable = "GOOGLE_BASE_URL"
    sign_in = (
        "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's "
        "file (GOOGLE_SKIP_SIGNATURE=true for a public bucket)"
    )
    by_version = True

    def endpoint(self) -> str | None:
        return checked_endpoint(first((self.endpoint_variable,)), ALLOW_HTTP)

    def store(self, name: str) -> "GCSStore":
        from obstore.store import GCSStore

        place = self.endpoint()
        return GCSStore(
            name, config={} if place is None else {"base_url": place}, **patience(allow_http=says(ALLOW_HTTP))
        )

    def lance_options(self) -> dict[str, str]:
        place = self.endpoint()
        options = lance_patience(allow_http=says(ALLOW_HTTP))
        return options if place is None else {**options, "google_base_url": place}
