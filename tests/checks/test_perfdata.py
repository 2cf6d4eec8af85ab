"""What plugins print, good and bad, becomes words and finite numbers in base units."""

import math
import random

import pytest

from checks._perfdata import parse, readable


def numbers(text: str) -> dict[str, tuple[float, str]]:
    return {metric.name: (metric.value, metric.unit) for metric in parse(text).metrics}


@pytest.mark.parametrize(
    ("perfdata", "expected"),
    [
        ("load1=0.12;4;8;0;", {"load1": (0.12, "")}),
        ("a=1 b=2\tc=3", {"a": (1, ""), "b": (2, ""), "c": (3, "")}),
        ("'free space'=5%", {"free space": (5, "%")}),
        ("'it''s'=5", {"it's": (5, "")}),
        ("'a=b'=5", {"a=b": (5, "")}),
        ("/var=1B", {"/var": (1, "B")}),
        ("time=1,5s", {"time": (1.5, "s")}),
        ("t=250ms u=10us v=3s n=5ns", {"t": (0.25, "s"), "u": (1e-5, "s"), "v": (3, "s"), "n": (5e-9, "s")}),
        ("a=1KB b=1kB c=1MB d=1GB e=1TB", {name: (1024.0**n, "B") for n, name in ((1, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e"))}),
        ("a=2MiB", {"a": (2 * 1024.0**2, "B")}),
        ("bytes=12345c", {"bytes": (12345, "")}),
        ("heat=21.5C power=3W", {"heat": (21.5, "C"), "power": (3, "W")}),
        ("a=U;1;2 b=1", {"b": (1, "")}),
        ("a=-1.5e-3s b=+.5", {"a": (-0.0015, "s"), "b": (0.5, "")}),
        ("a=1;@10:20;~:30;;", {"a": (1, "")}),
        ("a=1;;;0;100;", {"a": (1, "")}),
        ("a=1 a=2", {"a": (2, "")}),
        ("a=1e999 b=1", {"b": (1, "")}),
        ("'=5", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_performance_data_becomes_base_units(perfdata: str, expected: dict[str, tuple[float, str]]) -> None:
    found = numbers(f"OK | {perfdata}")
    assert {name: unit for name, (_, unit) in found.items()} == {name: unit for name, (_, unit) in expected.items()}
    for name, (value, _) in expected.items():
        assert found[name][0] == pytest.approx(value)


def test_ranges_stay_as_the_plugin_wrote_them() -> None:
    output = parse("OK | rta=1,5ms;@10:20;~:30 pl=0%;;80 up=1")
    assert output.ranges == {"rta": "warning @10:20, critical ~:30 (in ms)", "pl": "critical 80 (in %)"}


def test_words_that_make_no_sense_are_named_and_the_rest_is_kept() -> None:
    output = parse("OK | a=1 1.2.3 b=1.2.3 c=5parsecsandmore 'd e'=x f=2")
    assert [metric.name for metric in output.metrics] == ["a", "f"]
    assert output.faults == ("1.2.3", "b=1.2.3", "c=5parsecsandmore", "'d e'=x")


def test_a_second_bar_in_long_text_starts_performance_data_to_the_end() -> None:
    output = parse("DISK OK - all fine | /=1MB\n/ 15 GB free\n/boot 68 MB free | /boot=2MB\n/home=3MB\n/var=4MB\n")
    assert output.summary == "DISK OK - all fine"
    assert output.text == "/ 15 GB free\n/boot 68 MB free"
    assert [metric.name for metric in output.metrics] == ["/", "/boot", "/home", "/var"]


def test_text_without_a_bar_has_no_metrics() -> None:
    output = parse("  all is well  \nindeed\n")
    assert (output.summary, output.text, output.metrics) == ("all is well", "indeed", ())


def test_at_most_200_metrics_are_kept_and_that_is_said() -> None:
    output = parse("OK | " + " ".join(f"m{number}=1" for number in range(300)))
    assert len(output.metrics) == 200
    assert output.faults == ("all after the first 200 metrics",)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (b"\x1b[1;31mCRITICAL\x1b[0m: no", "CRITICAL: no"),
        (b"see \x1b]8;;http://x\x07here\x1b]8;;\x1b\\ ok", "see here ok"),
        (b"a\x00b\x07c\x7f", "abc"),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        ("safe\N{RIGHT-TO-LEFT OVERRIDE}exe".encode(), "safeexe"),
        (b"\tkept\n", "\tkept\n"),
        (b"cut \x1b[", "cut "),
    ],
)
def test_output_is_made_readable(printed: bytes, expected: str) -> None:
    assert readable(printed) == expected


def test_no_output_whatever_makes_an_error_or_an_odd_number() -> None:
    dice = random.Random(4)
    for _ in range(3000):
        text = readable(bytes(dice.choices(b"|='; \n\t.,:@~U%-+eE019abcs\x1b[\xff", k=dice.randrange(60))))
        metrics = parse(text).metrics
        assert all(math.isfinite(metric.value) and metric.name.strip() for metric in metrics)
        assert len({metric.name for metric in metrics}) == len(metrics)
