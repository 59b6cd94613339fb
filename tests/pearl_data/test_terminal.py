"""Nothing that data say steers a terminal, whichever command prints it."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trajectories import build_sample

from pearl_data.cli.main import main as pearl_data_main
from pearl_data.terminal import harmless, one_line, print_json, say
from pearl_data.trajectory import canonical_json
from pearl_train.cli.main import main as pearl_train_main

CONTROLS = [chr(c) for c in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(c) not in "\n\t"]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSEEN = [*"\u00ad\u200b\u200c\u200d\u2060\u2061\u180e\ufeff\ufff9\u2028\u2029\u206a", "\U000e0041"]
SEQUENCES = ["\x1b[2J", "\x1b]8;;http://x\x07", "\x1b]52;c;eA==\x1b\\", "\x9b2J", "\x9d0;t\x9c"]
EVIL = "".join([*SEQUENCES, *CONTROLS, *BIDI, *UNSEEN])


def steers(text: str) -> list[str]:
    """The characters of ``text`` that a terminal obeys, or that nobody sees."""
    return [
        c
        for c in text
        if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co") and c not in "\n\t"
    ]


@pytest.mark.parametrize("character", [*CONTROLS, *BIDI, *UNSEEN, "\ud800"])
def test_each_character_is_shown_as_an_escape(character: str) -> None:
    shown = harmless(f"a{character}b")
    assert steers(shown) == []
    assert shown.encode().decode("unicode_escape", "surrogatepass") == f"a{character}b"


@pytest.mark.parametrize(
    "text", ["ok\n\tfine", "é ü 漢字 \u00a0", "می\u200cروم", "क\u094d\u200dष", "👩\u200d🔬", ""]
)
def test_text_of_any_script_stays(text: str) -> None:
    assert harmless(text) == text


def test_one_line_is_one_line() -> None:
    assert one_line("a\nb\tc\r\nd\u2028e") == "a b c  d\\u2028e"


def test_json_is_exact_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    value = {EVIL: [EVIL, 1.5], "é": "\U000e0041\u200d"}
    print_json(value)
    printed = capsys.readouterr().out
    assert steers(printed) == []
    assert json.loads(printed) == value
    say(EVIL, err=True)
    assert steers(capsys.readouterr().err) == []


def test_a_terminal_that_is_not_utf8_shows_what_it_cannot_as_escapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, "latin-1"))
    say("é 漢")
    print_json({"é": "👩"})
    sys.stdout.flush()
    line, _, rest = stream.getvalue().decode("latin-1").partition("\n")
    assert line == "\\xe9 \\u6f22"
    assert json.loads(rest) == {"é": "👩"}


def evil_record(**changes: Any) -> bytes:
    """A record whose every free text steers a terminal."""
    document = msgspec.to_builtins(build_sample().trajectory)
    document["task"]["question"] = document["final"]["thought"] = f"q{EVIL}"
    document["task"]["evidence"][0]["label"] = EVIL
    document["source"] = dict.fromkeys(("dataset", "row", "licence"), f"s{EVIL}")
    document["steps"][0]["thought"] = document["steps"][0]["calls"][0]["arguments_raw"] = EVIL
    document["final"]["answer"] = document["final"]["verifier"] = f"a{EVIL}"
    return canonical_json(document | changes)


NAME = "e" + EVIL.replace("\0", "").replace("/", "")[:60] + ".jsonl"


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a program as the shell does; gives its exit status, stdout and stderr."""

    def run(*arguments: str, main: Callable[[], None] = pearl_data_main) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["validate", "a.jsonl"], 1),
        (["validate", "a.jsonl", "--json"], 1),
        (["validate", NAME], 1),
        (["audit", "a.jsonl"], 0),
        (["audit", "a.jsonl", "--json"], 0),
        (["audit", NAME], 1),
        (["show", "a.jsonl", "--key", "#0", "--out", "out"], 0),
        (["show", "a.jsonl", "--key", "#0", "--out", "out", "--json"], 0),
        (["show", "a.jsonl", "--key", f"x{SEQUENCES[0]}"], 2),
        (["show", f"nothing{SEQUENCES[1]}"], 2),
        ([f"--{SEQUENCES[0]}"], 2),
        ([f"x{SEQUENCES[0]}\u202e"], 2),
        (["synth", "--source", f"jsonl:{SEQUENCES[2]}", "--out", "s"], 2),
        (["tools", "run", f"crop{SEQUENCES[0]}", "p.png", "--arguments", "{}"], 1),
        (["tools", "run", "crop", "p.png", "--arguments", f'{{"{SEQUENCES[0]}": 1}}'], 1),
        (["tools", "run", "crop", NAME, "--arguments", "{}"], 1),
    ],
)
def test_no_command_prints_what_steers(
    arguments: list[str],
    status: int,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(evil_record())
    Path(NAME).write_bytes(evil_record(extra=EVIL, **{EVIL.replace("\0", ""): 1}))
    (Path("p.png")).write_bytes(build_sample().members["i0.jpg"])
    got, out, err = run(*arguments)
    assert (steers(out), steers(err)) == ([], [])
    assert got == status, err
    assert out + err
    if "--json" in arguments:
        json.loads(out)


@pytest.mark.parametrize(
    "arguments", [["eval", f"x{SEQUENCES[0]}"], [f"x{SEQUENCES[1]}"], ["predict", "x\u202e"]]
)
def test_the_trainer_prints_nothing_that_steers(arguments: list[str], run: Any) -> None:
    _, out, err = run(*arguments, main=pearl_train_main)
    assert out + err
    assert steers(out + err) == []
