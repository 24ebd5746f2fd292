"""Amazon's S3, and servers that speak its protocol: ``s3://bucket/key``.

Credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``,
``AWS_ENDPOINT_URL`` …), from the profile (``AWS_PROFILE``, ``~/.aws``) or from the machine's own role, as in any
other tool of S3. Nothing of them is written down or shown.
"""

from typing import TYPE_CHECKING

from llave.errors import UserError
from llave.storage.service import checked_endpoint, first, lance_patience, patience, says

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["Amazon"]

REGION = "us-east-1"
ALLOW_HTTP = "AWS_ALLOW_HTTP"


class Amazon:
    """S3."""

    extra = "s3"
    variables: tuple[str, ...] = ("AWS_",)
    endpoint_variable = "AWS_ENDPOINT_URL"
    sign_in = (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws "
        "(AWS_SKIP_SIGNATURE=true for a public bucket)"
    )
    by_version = False

    def endpoint(self) -> str | None:
        place = first(("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")) or _profile().get("endpoint_url")
        return checked_endpoint(place, ALLOW_HTTP)

    def store(self, name: str) -> "S3Store":
        import botocore.session
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        session = botocore.session.Session()
        place = self.endpoint()
        if says("AWS_SKIP_SIGNATURE"):
            provider = None
        elif session.get_credentials() is None:
            raise UserError(f"s3://{name}: no credentials; {self.sign_in}")
        else:
            provider = Boto3CredentialProvider(session)
        return S3Store(
            name,
            region=_region(),
            config={} if place is None else {"endpoint": place},
            credential_provider=provider,
            **patience(allow_http=says(ALLOW_HTTP)),
        )

    def lance_options(self) -> dict[str, str]:
        place = self.endpoint()
        options = {"region": _region(), **lance_patience(allow_http=says(ALLOW_HTTP))}
        return options if place is None else {**options, "endpoint": place}


def _region() -> str:
    """Where the user's buckets are."""
    return first(("AWS_REGION", "AWS_DEFAULT_REGION")) or _profile().get("region") or REGION


def _profile() -> dict[str, str]:
    """The user's settings in ``~/.aws``, without his keys.

    Raises:
        UserError: he names a profile that is not there, or the file is damaged.
    """
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        found = botocore.session.Session().get_scoped_config()
    except BotoCoreError as error:
        raise UserError(f"~/.aws: {error}") from None
    return {name: found[name] for name in ("region", "endpoint_url") if isinstance(found.get(name), str)}
