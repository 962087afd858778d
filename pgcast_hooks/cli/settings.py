"""`pgcast check-config`: the configuration file, checked."""

from __future__ import annotations

import sys

import click
import yaml

from pgcast_hooks import config as configuration
from pgcast_hooks.cli.group import main
from pgcast_hooks.errors import ConfigError


@main.command("check-config")
@click.pass_obj
def check_config(path: str) -> None:
    """Check the configuration file and print it with every default written out."""
    config = configuration.load(path)
    missing = configuration.missing_files(config)
    if missing:
        raise ConfigError(path, missing)
    yaml.safe_dump(configuration.effective(config), sys.stdout, sort_keys=False)
