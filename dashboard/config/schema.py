"""The file's JSON Schema: editors complete and check `watchroom.yaml` by it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import checks
from dashboard.config.models import CheckKeys, FileKeys

Schema = dict[str, Any]  # Any: JSON


def json_schema() -> Schema:
    """The schema, every probe's options in it."""
    probes = checks.load_all()
    models: list[type[BaseModel]] = [FileKeys, CheckKeys, *probes.values()]
    places, found = models_json_schema([(model, "validation") for model in models], title="Watchroom configuration")
    parts: Schema = found["$defs"]
    of = {model: parts.pop(places[model, "validation"]["$ref"].rpartition("/")[2]) for model in models}
    entries = [_entry(kind, of[CheckKeys], of[probe]) for kind, probe in probes.items()]
    whole: Schema = of[FileKeys]
    whole["properties"]["checks"] |= {"items": {"anyOf": entries}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": parts}


def _entry(kind: str, own: Schema, options: Schema) -> Schema:
    """A check of that type: its own keys and the probe's options, side by side."""
    return {
        "title": f"{kind} check",
        "description": options.get("description", ""),
        "type": "object",
        "properties": {**own["properties"], **options.get("properties", {}), "type": {"const": kind}},
        "required": [*own["required"], *options.get("required", [])],
        "additionalProperties": False,
    }
