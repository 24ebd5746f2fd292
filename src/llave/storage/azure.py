"""Azure Blob Storage: ``az://container/key`` of the account that the environment names.

Account and credentials come from where Azure's own tools find them: ``AZURE_STORAGE_ACCOUNT_NAME`` with a key, a SAS
token or a connection string; a service principal (``AZURE_CLIENT_ID`` …), a workload's identity, ``az login``, or the
machine's own identity. Nothing of them is written down or shown.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.errors import UserError
from llave.storage.service import checked_endpoint, first, lance_patience, patience, says

if TYPE_CHECKING:
    from obstore.store import AzureStore

__all__ = ["Azure"]

ALLOW_HTTP = "AZURE_ALLOW_HTTP"
SETTINGS = {
    "account_name": (("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"), "AccountName"),
    "account_key": (("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"), "AccountKey"),
    "sas_key": (("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"), "SharedAccessSignature"),
    "endpoint": (("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"), "BlobEndpoint"),
}
"""Variables of each, which the azure command line and its libraries name differently, and its name in a connection
string."""


class Azure:
    """Blob Storage."""

    extra = "azure"
    variables: tuple[str, ...] = ("AZURE_", "MSI_", "IDENTITY_")
    endpoint_variable = "AZURE_STORAGE_ENDPOINT"
    sign_in = (
        "run `az login`, or set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or "
        "AZURE_STORAGE_CONNECTION_STRING (AZURE_SKIP_SIGNATURE=true for a public container)"
    )
    by_version = False

    def endpoint(self) -> str | None:
        return _settings().get("endpoint")

    def store(self, name: str) -> "AzureStore":
        from obstore.store import AzureStore

        config: Any = {**_settings(), **_command_line()}
        return AzureStore(name, config=config, **patience(allow_http=says(ALLOW_HTTP)))

    def lance_options(self) -> dict[str, str]:
        named = {f"azure_storage_{name}": value for name, value in _settings().items()}
        command_line = {"azure_use_azure_cli": "true"} if _command_line() else {}
        return {**named, **command_line, **lance_patience(allow_http=says(ALLOW_HTTP))}


def _settings() -> dict[str, str]:
    """Of :data:`SETTINGS`, those that are set.

    Raises:
        UserError: no account, or an endpoint in clear text, which the user has not allowed.
    """
    told = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = {name.strip(): value for name, _, value in (part.partition("=") for part in told.split(";")) if value}
    found = {key: first(variables) or parts.get(name) for key, (variables, name) in SETTINGS.items()}
    if found["account_name"] is None:
        raise UserError("az:// is of a storage account, and none is named: set AZURE_STORAGE_ACCOUNT_NAME")
    checked_endpoint(found["endpoint"], ALLOW_HTTP)
    return {key: value for key, value in found.items() if value is not None}


def _command_line() -> dict[str, bool]:
    """Whether to ask the azure command line: the user has signed in there, and nothing else says who he is."""
    others = ("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")
    settings = _settings()
    if "account_key" in settings or "sas_key" in settings or says("AZURE_SKIP_SIGNATURE") or first(others) is not None:
        return {}
    folder = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
    signed_in = (folder / "azureProfile.json").is_file() and shutil.which("az") is not None
    return {"use_azure_cli": True} if signed_in else {}
