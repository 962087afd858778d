"""The shell's completion: the protocol as bash speaks it, and a bash that does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.terminal import Terminal

ROOT = Path(__file__).parents[2]
SCRIPT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from pgcast_hooks.cli import main
sys.exit(main(prog_name="pgcast"))
"""
DOCUMENT = {
    "clusters": {
        "main": {
            "patroni": "http://127.0.0.1:8008",
            "routes": [
                {"prefix": "192.0.2.10/32", "role": "primary"},
                {"prefix": "2001:db8::10/128", "role": "primary"},
                {"prefix": "2001:db8::11/128", "role": "primary"},
            ],
        },
        "billing": {
            "patroni": "http://127.0.0.1:8009",
            "routes": [{"prefix": "192.0.2.20/32", "role": "primary"}],
        },
    }
}
BOTH = ["2001:db8::10/128", "2001:db8::11/128"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's, with `pgcast` on its PATH and a configuration."""
    script = tmp_path / "bin" / "pgcast"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    config = tmp_path / "pgcast.yml"
    config.write_text(yaml.safe_dump(DOCUMENT, sort_keys=False))
    path = f"{script.parent}:{os.environ['PATH']}"
    return {"PATH": path, "PGCAST_CONFIG": str(config), "HOME": str(tmp_path)}


def _asked(environment: dict[str, str], protocol: dict[str, str]) -> list[str]:
    """The lines that a shell is told; nothing is on stderr."""
    result = subprocess.run(
        ["pgcast"],
        env={**environment, **protocol},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return [line for line in result.stdout.splitlines() if line]


def complete(environment: dict[str, str], *words: str) -> list[str]:
    """What bash is offered for the last of the words."""
    protocol = {
        "COMP_WORDS": "\n".join(["pgcast", *words]),
        "COMP_CWORD": str(len(words)),
        "_PGCAST_COMPLETE": "bash_complete",
    }
    lines = _asked(environment, protocol)
    assert all(line.startswith("plain,") for line in lines)
    return [line.partition(",")[2] for line in lines]


def offered(environment: dict[str, str], shell: str, *words: str) -> list[str]:
    """What zsh or fish is offered for the last of the words."""
    line = " ".join(["pgcast", *words[:-1], ""])
    protocol = {
        "COMP_WORDS": line if shell == "fish" else " ".join(["pgcast", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
        "_PGCAST_COMPLETE": f"{shell}_complete",
    }
    lines = _asked(environment, protocol)
    if shell == "fish":  # TYPE,VALUE, behind a tab what it is
        return [line.partition(",")[2].partition("\t")[0] for line in lines]
    assert lines[::3] == ["plain"] * (len(lines) // 3)
    return lines[1::3]  # TYPE, VALUE, HELP


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_protocol_of_other_shells(environment: dict[str, str], shell: str) -> None:
    """Scopes and prefixes, whole: neither cuts words at a colon as bash does."""
    for command in ("withdraw", "status"):
        assert offered(environment, shell, command, "") == ["main", "billing"]
        assert offered(environment, shell, command, "b") == ["billing"]
        assert offered(environment, shell, command, "main", "2001") == BOTH
        assert offered(environment, shell, command, "nobody", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(environment: dict[str, str], shell: str) -> None:
    """It asks this program, in this shell's protocol."""
    asked = {**environment, "_PGCAST_COMPLETE": f"{shell}_source"}
    result = subprocess.run(
        ["pgcast"], env=asked, capture_output=True, text=True, timeout=20
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert f"_PGCAST_COMPLETE={shell}_complete" in result.stdout
    assert re.search(r"(complete|compdef) .*\bpgcast\b", result.stdout)


@pytest.mark.parametrize(
    "command", ["announce", "withdraw", "auto", "status", "history"]
)
def test_scopes_and_prefixes(environment: dict[str, str], command: str) -> None:
    """Out of the configuration, alike for each command."""
    assert complete(environment, command, "") == ["main", "billing"]
    assert complete(environment, command, "b") == ["billing"]
    assert complete(environment, command, "billing", "") == ["192.0.2.20/32"]
    assert complete(environment, command, "main", "192.0.2.10/32", "") == BOTH
    assert complete(environment, command, "nobody", "") == []


def test_colons_and_equals_signs_as_bash_cuts_them(environment: dict[str, str]) -> None:
    """It replaces what stands behind the last of them only."""
    cut = ["withdraw", "main", "2001", ":", "db8", "::", "1"]
    assert complete(environment, *cut) == ["10/128", "11/128"]
    assert complete(environment, *cut[:4]) == ["db8::10/128", "db8::11/128"]
    assert complete(environment, *cut[:6], "10/128", "2001") == [BOTH[1]]
    config = environment.pop("PGCAST_CONFIG")
    assert complete(environment, "--config", "=", config, "status", "b") == ["billing"]


def test_the_configuration_of_the_line(environment: dict[str, str]) -> None:
    """--config comes before the environment, and may begin with the tilde that bash leaves."""
    other = {"clusters": {"other": DOCUMENT["clusters"]["billing"]}}
    path = Path(environment["HOME"]) / "other.yml"
    path.write_text(yaml.safe_dump(other))
    for named in (str(path), "~/other.yml"):
        assert complete(environment, "--config", named, "status", "") == ["other"]


@pytest.mark.parametrize("kind", ["missing", "broken", "directory", "fifo", "huge"])
def test_a_file_that_is_none(environment: dict[str, str], kind: str) -> None:
    """Silence, and soon: whoever presses TAB wants neither an error nor a shell that hangs."""
    path = Path(environment["PGCAST_CONFIG"])
    path.unlink()
    if kind == "broken":
        path.write_text("clusters: [main: {")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "huge":
        path.write_text("# nothing\n" * 200_000 + yaml.safe_dump(DOCUMENT))
    assert complete(environment, "withdraw", "") == []
    assert complete(environment, "withdraw", "main", "") == []


@pytest.fixture
def shell(environment: dict[str, str]) -> Iterator[Terminal]:
    """An interactive bash on a terminal, set up as the README says."""
    terminal = Terminal()
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env={**environment, "TERM": "dumb", "PS1": "$ "},
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        start_new_session=True,
    )
    terminal.given()
    terminal.type('bind "set enable-bracketed-paste off" "set bell-style none"\n')
    terminal.type('eval "$(_PGCAST_COMPLETE=bash_source pgcast)"; echo re""ady\n')
    terminal.wait("\nready")
    yield terminal
    process.kill()
    process.wait()
    terminal.close()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("pgcast withd\tbi\t\t", "pgcast withdraw billing 192.0.2.20/32 "),
        ("pgcast status main 192\t", "pgcast status main 192.0.2.10/32 "),
        ("pgcast status main 2\t0/\t", "pgcast status main 2001:db8::10/128 "),
        ("pgcast status main 2001:db8::11\t", "pgcast status main 2001:db8::11/128 "),
    ],
)
def test_in_bash(shell: Terminal, typed: str, line: str) -> None:
    """Key by key, with nothing between the completed words but what was typed."""
    shell.type(typed)
    shell.wait(line)
