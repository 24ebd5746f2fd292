"""OpenAPI: the routes read their bodies themselves, so their schemas are added here."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from llave.serving.routes.embeddings import UploadRequest
from llave.serving.schema import CohereRequest, EmbeddingRequest
from llave.serving.schema_rerank import RerankRequest, ScoreRequest
from llave.serving.schema_search import ExportRequest, ItemsRequest, SearchRequest

__all__ = ["describe"]

BODIES: tuple[type[BaseModel], ...] = (
    EmbeddingRequest,
    CohereRequest,
    UploadRequest,
    SearchRequest,
    ItemsRequest,
    ExportRequest,
    RerankRequest,
    ScoreRequest,
)


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` hold the bodies' schemas and the key."""
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            _, bodies = models_json_schema(
                [(model, "validation") for model in BODIES], ref_template="#/components/schemas/{model}"
            )
            components = schema.setdefault("components", {})
            components["schemas"] = {**bodies.get("$defs", {}), **components.get("schemas", {})}
            _drop_fastapi_errors(schema)
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{}, {"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _drop_fastapi_errors(schema: dict[str, Any]) -> None:
    """FastAPI names its own 422 everywhere; here a wrong request is a 400 of the one form."""
    for methods in schema["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
