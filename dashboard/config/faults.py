"""What pydantic found wrong, in plain words, with lines."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from checks._url import SECRET_NAME
from dashboard.config.annotations import holds_secret, known_keys
from dashboard.config.secrets import Filled, mask
from dashboard.config.tree import Mapping as YamlMapping
from dashboard.config.tree import Sequence as YamlSequence
from dashboard.errors import Problem

Location = tuple[int | str, ...]
_LONGEST_SHOWN = 60

# {pydantic's error type: our words}; the braces are filled from the error's context
_WORDS = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of sensible size",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_sub_type": "must be text",
    "bytes_type": "must be text",
    "dict_type": "must hold `key: value` lines",
    "mapping_type": "must hold `key: value` lines",
    "model_type": "must hold `key: value` lines",
    "model_attributes_type": "must hold `key: value` lines",
    "list_type": "must be a list such as [a, b]",
    "tuple_type": "must be a list such as [a, b]",
    "set_type": "must be a list such as [a, b]",
    "frozen_set_type": "must be a list such as [a, b]",
    "is_instance_of": "must be a list, one `- ` a line",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "none_required": "must be left out",
}
_WITHOUT_VALUE = frozenset({"missing", "too_short", "too_long", "string_too_long"})


def problems_of(
    error: ValidationError,
    tree: YamlMapping,
    tops: Sequence[type[BaseModel]],
    *,
    prefix: str = "",
    check_id: str = "",
    secrets: Collection[str] = (),
    leave_out: Iterable[str] = (),
) -> list[Problem]:
    """Each fault once, named by its place in the tree, whose keys are those of `tops`; none below the keys to leave out.

    What may be a secret is never quoted, nor what came out of the environment or a file, nor any of the secrets.
    """
    left_out = set(leave_out)
    found: dict[tuple[Location, int], list[str]] = {}
    for fault in error.errors(include_url=False, include_input=False):
        location = fault["loc"]
        if left_out and (not location or str(location[0]) in left_out):
            continue
        place, line, value = _locate(tree, location)
        messages = found.setdefault((place, line), [])
        words = mask(_sentence(fault, place, value, tops), secrets)
        if words not in messages:
            messages.append(words)
    return [
        Problem(message=f"{prefix}{_path(place)}{', or '.join(words)}", line=line, check_id=check_id)
        for (place, line), words in found.items()
    ]


def _path(place: Location) -> str:
    """`thresholds: load: warning: `, and `tags: entry 2: ` for the second of a list."""
    return "".join(f"entry {part + 1}: " if isinstance(part, int) else f"{part}: " for part in place)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'timeout'?`, or what there is where nothing is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(word[:100].lower(), choices, n=1)
    return f", did you mean {near[0]!r}?" if near else f": it can be {', '.join(choices)}" if choices else ""


def _locate(tree: YamlMapping, location: Location) -> tuple[Location, int, object]:
    """As much of pydantic's location as exists in the file (it adds names of its own), the line, the value there."""
    place: list[int | str] = []
    line = tree.line
    value: object = tree
    for index, part in enumerate(location):
        if isinstance(value, YamlMapping) and part in value:
            line, value = value.line_of(part), value[str(part)]
        elif isinstance(value, YamlSequence) and isinstance(part, int) and part < len(value):
            line, value = value.line_of(part), value[part]
        elif isinstance(value, YamlMapping) and index == len(location) - 1:
            return (*place, part), line, None  # the key that is missing there
        else:
            continue
        place.append(part)
    return tuple(place), line, value


def _sentence(
    fault: ErrorDetails,
    place: Location,
    value: object,
    tops: Sequence[type[BaseModel]],
) -> str:
    kind = fault["type"]
    context = fault.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(place[-1]), known_keys(tops, place[:-1]))}"
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "must not be empty"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", "is wrong"))
    template = _WORDS.get(kind)
    words = template.format_map(context) if template else _plain_words(fault["msg"])
    if kind in _WITHOUT_VALUE or _may_be_secret(tops, place):
        return words
    return f"{words}, got {_shown(value)}{_way_out(kind, value)}"


def _may_be_secret(tops: Sequence[type[BaseModel]], place: Location) -> bool:
    if any(isinstance(part, str) and SECRET_NAME.search(part) for part in place):
        return True
    fields = [top.model_fields[str(place[0])] for top in tops if place and str(place[0]) in top.model_fields]
    return any(holds_secret(field.annotation) for field in fields)


def _plain_words(message: str) -> str:
    return message[:1].lower() + message[1:]


def _way_out(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ": put it in quotes"
    if kind == "literal_error" and isinstance(value, bool):
        return ": put it in quotes"
    return ""


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Filled):
        return value.written[:_LONGEST_SHOWN]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:_LONGEST_SHOWN]
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "...")
    return "a list" if isinstance(value, Sequence) else "keys and values"
