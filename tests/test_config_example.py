"""The example shows every key there is, and is right."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import checks
from dashboard.config import load, parse
from dashboard.config.models import (
    CheckKeys,
    CheckRetentionKeys,
    CommandsKeys,
    FileKeys,
    RetentionKeys,
    ServerKeys,
    SharedKeys,
    ThresholdsKeys,
)
from dashboard.config.schema import json_schema
from dashboard.model import Settings

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "watchroom.example.yaml"
MODELS = (FileKeys, ServerKeys, RetentionKeys, CommandsKeys, SharedKeys, CheckKeys, CheckRetentionKeys, ThresholdsKeys)


def shows(text: str, key: str) -> bool:
    return re.search(rf"(?<![\w-]){key}:", text) is not None


def test_the_example_loads(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "watchroom.yaml")
    settings = load(tmp_path / "watchroom.yaml", environ={})
    assert {check.type for check in settings.checks} == {"http", "tcp", "host", "prober"}
    assert settings.broken == ()


def test_the_example_loads_with_its_commands_too():
    text = EXAMPLE.read_text().replace("enabled: false", "enabled: true")
    head, commands = text.split("  # - id: load")
    text = head + "  - id: load" + re.sub(r"^  # ", "  ", commands, flags=re.MULTILINE)
    settings = parse(text, source=EXAMPLE, environ={})
    assert {check.type for check in (*settings.checks, *settings.broken)} == set(checks.load_all())


def test_the_example_shows_what_holds_where_nothing_is_written():
    sections = EXAMPLE.read_text().split("checks:\n")[0] + "checks: []"
    written = parse(sections, source=EXAMPLE, environ={})
    assert written == Settings(source=EXAMPLE)
    shared = SharedKeys()
    for name in ("failure_threshold", "success_threshold", "retries"):
        assert f"{name}: {getattr(shared, name)} " in sections


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_is_in_the_example_and_in_the_text(model):
    example, text = EXAMPLE.read_text(), (ROOT / "docs" / "configuration.md").read_text()
    for name in model.model_fields:
        assert shows(example, name), f"{name} is missing in the example"
        assert f"`{name}`" in text, f"{name} is missing in docs/configuration.md"


@pytest.mark.parametrize(("kind", "probe"), checks.load_all().items())
def test_every_option_of_every_probe_is_shown(kind, probe):
    reference = ROOT / "docs" / "checks.md"
    text = EXAMPLE.read_text() + (reference.read_text() if reference.exists() else "")
    for name in probe.model_fields:
        assert shows(text, name) or f"`{name}`" in text, f"{kind}: {name} is shown nowhere"


def test_the_schema_knows_every_check_by_its_type():
    schema = json_schema()
    entries = schema["properties"]["checks"]["items"]["anyOf"]
    assert {entry["properties"]["type"]["const"] for entry in entries} == set(checks.load_all())
    tcp = next(entry for entry in entries if entry["properties"]["type"]["const"] == "tcp")
    assert {"id", "type", "host", "port"} <= set(tcp["required"])
    assert "every" in tcp["properties"]
    assert tcp["additionalProperties"] is False


def test_the_schema_takes_what_the_file_takes_for_a_retention():
    schema = json_schema()
    top = schema["$defs"]["RetentionKeys"]["properties"]
    assert {key: each["default"] for key, each in top.items()} == {
        "raw": "30d",
        "five_minutes": "90d",
        "hours": "2y",
        "days": "forever",
    }
    for key, each in top.items():
        for value in (each["default"], "1d12h", "forever"):
            assert re.search(each["pattern"], value), key
            parse(f"retention: {{{key}: {value}}}\nchecks: []", source=EXAMPLE, environ={})
        assert not re.search(each["pattern"], "30")
    own = schema["$defs"]["CheckRetentionKeys"]["properties"]
    assert own.keys() == top.keys()
