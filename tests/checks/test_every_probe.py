"""What every probe must bring along, and what its fields may not be called."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from checks import load_all
from checks._document import markdown
from checks.base import Probe

ROOT = Path(__file__).parents[2]
CHECK_KEYS = frozenset(
    [
        "id",
        "name",
        "type",
        "every",
        "timeout",
        "thresholds",
        "group",
        "tags",
        "owner",
        "runbook",
        "notes",
        "failure_threshold",
        "success_threshold",
        "retries",
        "paused",
    ]
)
PROBES = load_all()


def faults_of(probe: type[Probe]) -> list[str]:
    """What is wrong with the probe's names and words."""
    faults = [f"{name} is a key of every check" for name in probe.model_fields if name in CHECK_KEYS]
    faults += [f"{name} is an attribute of a model" for name in probe.model_fields if hasattr(BaseModel, name)]
    faults += [f"{name} is an attribute of a probe" for name in probe.model_fields if name in vars(Probe)]
    faults += [f"{name} has no description" for name, field in probe.model_fields.items() if not field.description]
    if not (probe.__doc__ or "").strip():
        faults.append("has no docstring")
    return faults


def test_the_known_probes_are_found() -> None:
    assert set(PROBES) >= {"command", "host", "http", "prober", "tcp"}


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_is_well_named_and_described(kind: str) -> None:
    assert faults_of(PROBES[kind]) == []


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_a_badly_named_field_is_noticed() -> None:
    class Bad(Probe):
        timeout: int = 1
        json: int = 2  # type: ignore[assignment]
        target: str = ""  # type: ignore[assignment]

    faults = faults_of(Bad)
    for fault in (
        "timeout is a key of every check",
        "json is an attribute of a model",
        "target is an attribute of a probe",
    ):
        assert fault in faults
    assert "timeout has no description" in faults


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_has_a_test_file_of_its_own(kind: str) -> None:
    module = PROBES[kind].__module__.rpartition(".")[2]
    assert (ROOT / "tests" / "checks" / f"test_{module}.py").is_file()


def test_the_page_of_all_probes_is_up_to_date() -> None:
    written = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert written == markdown(PROBES.values()), "run: python -m checks --markdown > docs/checks.md"
    assert all(f"\n## `{kind}`\n" in written for kind in PROBES)
