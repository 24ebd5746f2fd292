"""What every body of a request has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["MAX_FIELDS", "Form"]

MAX_FIELDS = 100


class Form(BaseModel):
    """A misspelt field is an error, not something that silently has no effect; null is a field's default."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Clients write null for what they leave open. Too many fields are one error, not one each."""
        if not isinstance(given, dict):
            return given
        if len(given) > MAX_FIELDS:
            raise ValueError(f"an object of more than {MAX_FIELDS} fields")
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The same for those who read the description."""
        found = handler(schema)
        described = handler.resolve_ref_schema(found)
        for name, field in described.get("properties", {}).items():
            choices = field.get("anyOf", [])
            if name not in described.get("required", ()) and {"type": "null"} not in choices:
                about = {key: field.pop(key) for key in ("title", "default", "description") if key in field}
                described["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}
        return found
