"""What every model of YAML keys is made of: the engines, camera paths and the configuration itself derive from it."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError, PydanticUndefined


class Section(BaseModel):
    """A group of keys in a YAML file.

    Values are taken as YAML gives them: ``"3"`` is no integer, ``true`` is no number, a whole number may stand for a
    real one. An unknown key, NaN and infinity are refused. A key of type ``... | None`` with the default None is
    optional: left out, it is absent from the completed configuration too; written without a value, it is refused.

    Where values must agree, a model validator with ``mode="after"`` raises ValueError; its message names keys
    and values and says what to do, begins in lower case and has no full stop.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    takes_null: ClassVar[tuple[str, ...]] = ()
    """Optional keys for which ``null`` may be written and means the same as leaving them out."""

    @field_validator("*", mode="before")
    @classmethod
    def _can_be_meant(cls, value: Any, info: Any) -> Any:
        if value is None and info.field_name not in cls.takes_null:
            raise PydanticCustomError("empty", "a key without a value; give it one or remove the line")
        choices = get_args(cls.model_fields[info.field_name].annotation)
        if value in choices and type(value) not in map(type, choices):  # True and 1.0 equal 1
            raise PydanticCustomError("choice", "not one of {choices}", {"choices": ", ".join(map(str, choices))})
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("nul", "a NUL character, which no path and no command line can hold; remove it")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name in cls.takes_null:
            properties[name] |= {"type": [properties[name]["type"], "null"], "default": None}
        return schema


def key(description: str, default: Any = PydanticUndefined, **bounds: Any) -> Any:
    """A key of a section: a sentence that says what it means, with its unit, ending in a full stop.

    Args:
        description: stands in config/README.md, in the schema that editors read, and in messages.
        default: its value when the file does not give it; without one the key is required. A dictionary is the keys of
            a section, a list is copied.
        bounds: what `pydantic.Field` takes: ``ge``, ``gt``, ``le``, ``lt`` (numbers), ``min_length``, ``max_length``,
            ``pattern`` (texts and lists), ``multiple_of``.
    """
    # Validated, so that the defaults of the keys inside a default are filled in as well.
    inner = {"validate_default": True} if isinstance(default, dict | list) else {}
    return Field(default, description=description, **inner, **bounds)
