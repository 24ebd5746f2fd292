"""A bucket, read by a process that was forked from one that had opened it: the threads of obstore's client do not
survive that, and every question would wait for ever. Amazon's own client has none."""

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from llave.storage.client import CONNECT, CUT, READ, RETRIES, endpoint, region, says

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["forked_store"]


def forked_store(name: str) -> "S3Store":
    """What of a bucket's client answers to ``head``, ``get`` and ``list``; it is for reading alone."""
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT.seconds,
        read_timeout=READ.seconds,
        retries={"total_max_attempts": RETRIES + 1, "mode": "standard"},
        signature_version=UNSIGNED if says("AWS_SKIP_SIGNATURE") else None,
    )
    session = botocore.session.Session()
    client = session.create_client("s3", region(), endpoint_url=endpoint(), config=config)
    return cast("S3Store", _Store(name, client))


class _Store:
    """Answers as obstore's does."""

    def __init__(self, bucket: str, client: Any) -> None:
        self._bucket, self._client = bucket, client

    def head(self, key: str) -> dict[str, Any]:
        found = self._ask("head_object", Key=key)
        return _about(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def get(self, key: str, *, options: dict[str, Any] | None = None) -> "_Body":
        asked = {}
        if options:
            start, end = options["range"]
            asked = {"Range": f"bytes={start}-{end - 1}", "IfMatch": options["if_match"]}
        from botocore.exceptions import HTTPClientError

        try:
            return _Body(self._ask("get_object", Key=key, **asked)["Body"].read())
        except HTTPClientError as error:  # it was there, and ended within
            raise OSError(f"{CUT}: {error}") from None

    def list(self, prefix: str | None, *, offset: str | None = None) -> Iterator[list[dict[str, Any]]]:
        asked = {"Prefix": prefix or "", **({"StartAfter": offset} if offset else {})}
        while True:
            found = self._ask("list_objects_v2", **asked)
            if keys := found.get("Contents"):
                yield [_about(each["Key"], each["Size"], each["ETag"], each["LastModified"]) for each in keys]
            if not found["IsTruncated"]:
                return
            asked["ContinuationToken"] = found["NextContinuationToken"]

    def _ask(self, what: str, **words: Any) -> Any:
        from botocore.exceptions import ClientError
        from obstore.exceptions import PreconditionError

        try:
            return getattr(self._client, what)(Bucket=self._bucket, **words)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404"):
                raise FileNotFoundError(words["Key"]) from None
            if code in ("PreconditionFailed", "412"):
                raise PreconditionError(words["Key"]) from None
            raise


class _Body:
    def __init__(self, content: builtins.bytes) -> None:
        self._content = content

    def bytes(self) -> builtins.bytes:
        return self._content

    def __iter__(self) -> Iterator[builtins.bytes]:
        yield self._content


def _about(key: str, size: int, tag: str, modified: Any) -> dict[str, Any]:
    return {"path": key, "size": size, "e_tag": tag, "last_modified": modified}
