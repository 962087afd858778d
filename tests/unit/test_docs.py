"""The documentation cannot rot: what it names exists, and what exists is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from pgcast_hooks import cli, config, endpoint, errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """Every command by its whole name, those of groups within groups too."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        found[before + name] = command
    return found


COMMANDS = commands(cli.main)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    """With the options that it has."""
    assert f"`pgcast {name}" in README
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert option in README


def test_help_and_readme_name_the_same_exit_codes() -> None:
    """And every error has one of them."""
    help_text = CliRunner().invoke(cli.main, ["--help"]).output
    told = set(re.findall(r"\b\d+\b", help_text.partition("Exit codes:")[2]))
    assert told == {"0", "2", "69", "70", "75", "76", "78"}
    section = README.partition("Exit codes are those")[2].partition("\n\n")[0]
    assert told == set(re.findall(r"\b\d+\b", section))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = [kind for kind in kinds if issubclass(kind, errors.PgcastError)]
    assert {str(kind.exit_code) for kind in raised} <= told


def test_the_readme_s_configuration_is_accepted() -> None:
    """The full example parses."""
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert set(config.parse(yaml.safe_load(block)).clusters) == {"main", "billing"}


def test_the_configuration_table_has_every_key() -> None:
    """Each key of the effective configuration has its row."""
    table = README.partition("## Configuration")[2].partition("## Commands")[0]
    document = {
        "clusters": {
            "main": {
                "patroni": "http://127.0.0.1:8008",
                "routes": [{"prefix": "192.0.2.10/32", "role": "primary"}],
            }
        }
    }
    effective = config.effective(config.parse(document))
    keys = {*effective["exabgp"], *effective["callback"], "pipe"}
    keys |= {*effective["clusters"]["main"]["patroni"], *endpoint.KEYS}
    keys |= {*effective["clusters"]["main"]["routes"][0], "attribute", "base"}
    for key in keys:
        assert re.search(rf"\.{key}`", table), key


def test_the_table_of_failures_quotes_what_is_said() -> None:
    """Every quoted symptom with an exit code is part of a message in the source."""
    table = README.partition("## When something is wrong")[2].partition("## Decisions")[
        0
    ]
    source = "".join(path.read_text() for path in (ROOT / "pgcast_hooks").rglob("*.py"))
    source = re.sub(r'"\s*f?"|\{[^{}]*\}', "", source)
    source = re.sub(r"\s+", " ", source)
    quoted = [
        phrase.strip(" …")
        for row in re.findall(r"^\| (.*? \(\d+\)) \|", table, re.M)
        for cell in re.findall(r"`(.*?)`", row)
        for phrase in cell.split("…")
    ]
    assert len(quoted) > 10
    system_s_own = "Permission denied"
    for phrase in quoted:
        assert phrase.replace(system_s_own, "").strip(": ") in source, phrase


def test_patroni_example_calls_the_script_for_every_action() -> None:
    """Each callback of Patroni's, and before_stop with the scope that the file names."""
    example = yaml.safe_load((ROOT / "examples" / "patroni.yml").read_text())
    script = "/opt/pgcast/bin/pgcast-callback"
    actions = ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")
    assert example["postgresql"]["callbacks"] == dict.fromkeys(actions, script)
    assert (
        example["postgresql"]["before_stop"]
        == f"{script} before_stop - {example['scope']}"
    )


def test_the_module_says_how_it_is_run() -> None:
    """`pgcast-callback` without arguments tells its usage."""
    code = "import sys; from pgcast_hooks.callback import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 2
    assert "pgcast-callback [--config FILE] ACTION ROLE SCOPE" in result.stderr
