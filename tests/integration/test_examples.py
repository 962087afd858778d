"""What a user copies to a server with systemd or cron, checked by the programs that will read it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgcast_hooks import cli

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICES = (
    "pgcast-reconcile.service",
    "pgcast-reconcile-once.service",
    "pgcast-reconcile@.service",
)
UNITS = (*SERVICES, "pgcast-reconcile-once.timer")


@pytest.fixture
def opt() -> None:
    """The program where the units expect it; /opt belongs to this process's namespace."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/opt"], check=True)
    program = Path("/opt/pgcast/bin/pgcast")
    program.parent.mkdir(parents=True)
    program.touch(0o755)


def systemd(*arguments: str) -> str:
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stderr


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_is_accepted(opt: None, name: str) -> None:
    """With nothing that systemd would only warn of."""
    assert systemd("systemd-analyze", "verify", str(EXAMPLES / name)) == ""


@pytest.mark.parametrize("name", SERVICES)
def test_the_unit_is_hardened(opt: None, name: str) -> None:
    """An exposure of at most 2 of 10."""
    systemd(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=20",
        str(EXAMPLES / name),
    )


def test_the_drop_in_is_accepted(opt: None, tmp_path: Path) -> None:
    """Beside a unit like Debian's."""
    unit = tmp_path / "exabgp.service"
    unit.write_text("[Service]\nUser=exabgp\nGroup=exabgp\nExecStart=/bin/true\n")
    directory = tmp_path / "exabgp.service.d"
    directory.mkdir()
    (directory / "pgcast.conf").write_text(
        (EXAMPLES / "exabgp-pgcast.conf").read_text()
    )
    assert systemd("systemd-analyze", "verify", str(unit)) == ""


def test_the_metrics_drop_in_is_accepted(opt: None, tmp_path: Path) -> None:
    """Beside the unit that it is for, whose command it repeats; the rest is left to that."""
    unit = tmp_path / "pgcast-reconcile.service"
    unit.write_text((EXAMPLES / unit.name).read_text())
    directory = tmp_path / f"{unit.name}.d"
    directory.mkdir()
    text = (EXAMPLES / "pgcast-reconcile-metrics.conf").read_text()
    (directory / "metrics.conf").write_text(text)
    assert systemd("systemd-analyze", "verify", str(unit)) == ""
    command = re.search(r"^ExecStart=(/.*)$", unit.read_text(), re.M)
    assert command
    assert f"\nExecStart=\n{command[0]} --textfile /run/pgcast/pgcast.prom\n" in text


def test_tmpfiles_makes_a_pipe_that_postgres_can_use(tmp_path: Path) -> None:
    """The directory and both FIFOs, with their owners."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).write_text(Path("/etc", name).read_text())
    example = EXAMPLES / "exabgp-tmpfiles.conf"
    systemd("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(example))
    run = tmp_path / "run" / "exabgp"
    assert stat.S_IMODE(run.stat().st_mode) == 0o750
    for name in ("exabgp.in", "exabgp.out"):
        found = (run / name).stat()
        assert stat.S_ISFIFO(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (run / name).owner() == "exabgp"
        assert (run / name).group() == "postgres"


@pytest.mark.parametrize(
    "name",
    [
        "pgcast-reconcile.cron",
        *SERVICES,
        "exabgp-pgcast.conf",
        "pgcast-reconcile-metrics.conf",
    ],
)
def test_the_command_exists(name: str) -> None:
    """Every command line of pgcast's in a file parses."""
    lines = re.findall(
        r"^[^#\n]*/opt/pgcast/bin/pgcast ([^\n]*)", (EXAMPLES / name).read_text(), re.M
    )
    assert lines
    for line in lines:
        result = CliRunner().invoke(cli.main, [*line.split(), "--help"])
        assert result.exit_code == 0, result.output


def test_the_service_of_one_of_several_is_the_other_but_for_its_configuration() -> None:
    """What is learnt about the one must not be forgotten in the other."""
    one, each = (
        {
            line
            for line in (EXAMPLES / name).read_text().splitlines()
            if line and not line.startswith("#")
        }
        for name in ("pgcast-reconcile.service", "pgcast-reconcile@.service")
    )
    keys = {line.partition("=")[0] for line in one ^ each}
    assert keys == {"Description", "After", "ExecStart"}


def test_every_example_is_named_in_the_readme_or_in_another() -> None:
    """A file that nothing leads to is found by nobody."""
    text = (EXAMPLES.parent / "README.md").read_text()
    text += "".join((EXAMPLES / name).read_text() for name in os.listdir(EXAMPLES))
    for name in os.listdir(EXAMPLES):
        assert name in text, name
