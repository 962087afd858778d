"""What a withdrawal costs, beside the bare start of the interpreter that runs it.

Run by hand, as root, on a machine that is not busy: `python -m tests.bench.callback`. The two are run in turns, so that
what else the machine does falls on both; the figure is the ratio of their medians.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click

from tests.integration.bird import Bird
from tests.integration.conftest import enter_namespaces
from tests.integration.exabgp import CACHE, VERSIONS, Exabgp
from tests.integration.pgcast import Pgcast

INSTALLED = CACHE / "pgcast" / "bin"


def seconds(arguments: list[str]) -> float:
    """The wall-clock time of one process, which must succeed."""
    start = time.perf_counter()
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


@click.command()
@click.option("--runs", default=40, show_default=True)
def main(runs: int) -> None:
    """Measure `pgcast-callback on_stop primary main`, read-back included, with each ExaBGP."""
    enter_namespaces()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pgcast = Pgcast(directory, "http://127.0.0.1:8008")
        pgcast.callback()  # writes the configuration
        bare = [str(INSTALLED / "python3"), "-c", "pass"]
        call = [
            str(INSTALLED / "pgcast-callback"),
            "--config",
            str(directory / "pgcast.yml"),
        ]
        call += ["on_stop", "primary", "main"]
        print(f"{'ExaBGP':8} {'python -c pass':>15} {'withdrawal':>12} {'ratio':>7}")
        with Bird(directory) as bird:
            for version in VERSIONS:
                with Exabgp(version, directory):
                    bird.wait_established()
                    pairs = [(seconds(bare), seconds(call)) for _ in range(runs)]
                start, whole = (statistics.median(column) for column in zip(*pairs))
                print(
                    f"{version:8} {start * 1e3:12.1f} ms {whole * 1e3:9.1f} ms {whole / start:7.2f}"
                )


if __name__ == "__main__":
    main()
