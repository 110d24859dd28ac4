"""What the result files hold that others read: one model for each kind of file, and its JSON schema.

No program of a rule imports this package: files are described here, and tests hold what a run wrote against it. So a
word in a description makes no result again. A key of type ``... | None`` with the default None may be absent, and is
null nowhere; one without a default is always there.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from blueprint.result_files.clips import CamerasFile, ScoresFile
from blueprint.result_files.parts import Part
from blueprint.result_files.scan import FidelityFile
from blueprint.result_files.summary import SummaryFile

FILES: dict[str, type[Part]] = {
    "cameras": CamerasFile,
    "scores": ScoresFile,
    "fidelity": FidelityFile,
    "summary": SummaryFile,
}
"""By the name of the schema."""


class _Generator(GenerateJsonSchema):
    """Says what a file may hold: a key with the default None is absent instead of null."""

    def default_schema(self, schema: Any) -> dict[str, Any]:
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def result_schema(model: type[Part]) -> dict[str, Any]:
    """The JSON schema of a kind of result file."""
    return model.model_json_schema(schema_generator=_Generator)
