"""What many clusters on one host cost: 10 routes each, one ExaBGP, one Patroni each.

Run by hand, as root, on a machine that is not busy: `python -m tests.bench.scale`. Figures and numbers of routes are
measured in turns, so that what else the machine does falls on all; every figure is a median.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import click
import yaml

from tests.bench.measure import Measured, Running, measure
from tests.bench.patroni import patroni
from tests.bench.plot import plot
from tests.integration import clusters
from tests.integration.bird import Bird
from tests.integration.conftest import enter_namespaces
from tests.integration.exabgp import CACHE, PIPE, VERSIONS, Exabgp
from tests.integration.waiting import until

INSTALLED = CACHE / "pgcast" / "bin"
PYTHON = str(INSTALLED / "python3")
INTERVAL = "2"
READ = "import sys; from pgcast_hooks import config; config.load(sys.argv[1])"


class Host:
    """A host with so many routes, all announced, and what is done to it."""

    def __init__(
        self, directory: Path, url: str, routes: int, bird: Bird, exabgp: Exabgp
    ) -> None:
        self._routes = routes
        self._bird = bird
        self._exabgp = exabgp
        self._config = directory / "pgcast.yml"
        self._last_pass = directory / "state" / "last-pass"
        document = {
            "exabgp": {"pipe": str(PIPE)},
            "state_dir": str(directory / "state"),
            "clusters": clusters.document(url, routes),
        }
        (directory / "state").mkdir()
        self._config.write_text(yaml.safe_dump(document))
        measure(self._pgcast("reconcile"))
        self._wait(routes)

    def bare(self) -> Measured:
        """The start of the interpreter."""
        return measure([PYTHON, "-c", "pass"])

    def read(self) -> Measured:
        """The configuration read, and nothing else."""
        return measure([PYTHON, "-c", READ, str(self._config)])

    def unchanged(self) -> Measured:
        """A pass that changes nothing."""
        return measure(self._pgcast("reconcile"))

    def on_stop(self) -> Measured:
        """A withdrawal of one scope, read back; then the routes are announced again."""
        made = measure(self._callback("on_stop"))
        measure(self._callback("on_start"))
        return made

    def on_start(self) -> Measured:
        """An announcement of one scope, confirmed and read back."""
        measure(self._callback("on_stop"))
        return measure(self._callback("on_start"))

    def at_the_router(self) -> Measured:
        """A withdrawal of one scope until the router has none of its routes."""
        running = Running(self._callback("on_stop"))
        start = time.perf_counter()
        self._wait(self._routes - clusters.EACH)
        seconds = time.perf_counter() - start
        made = running.measured()
        measure(self._callback("on_start"))
        return made._replace(seconds=seconds)

    def restart_and_pass(self) -> Measured:
        """A pass after a restart of ExaBGP, until the router has all routes again."""
        self._restart()
        self._bird.wait_established()
        running = Running(self._pgcast("reconcile"))
        return self._all_back(running)

    def restart_in_the_loop(self) -> Measured:
        """A restart of ExaBGP while the loop runs: from the moment that the pipe is read, session and all."""
        self._last_pass.unlink()
        running = Running(self._pgcast("reconcile", "--interval", INTERVAL))
        until(self._last_pass.exists, "a first pass")
        self._restart()
        start = time.perf_counter()
        self._wait(self._routes)
        seconds = time.perf_counter() - start
        running.terminate()
        return running.measured()._replace(seconds=seconds)

    def _all_back(self, running: Running) -> Measured:
        start = time.perf_counter()
        self._wait(self._routes)
        seconds = time.perf_counter() - start
        return running.measured()._replace(seconds=seconds)

    def _restart(self) -> None:
        self._exabgp.stop()
        self._wait(0)
        self._exabgp.start()

    def _wait(self, routes: int) -> None:
        until(
            lambda: self._bird.count() == routes, f"{routes} routes at the router", 30
        )

    def _pgcast(self, *arguments: str) -> list[str]:
        return [str(INSTALLED / "pgcast"), "--config", str(self._config), *arguments]

    def _callback(self, action: str) -> list[str]:
        program = str(INSTALLED / "pgcast-callback")
        scope = clusters.scopes(self._routes)[0]
        return [program, "--config", str(self._config), action, "primary", scope]


# By the names that the table and the plot give them.
QUICK: dict[str, Callable[[Host], Measured]] = {
    "python -c pass": Host.bare,
    "read the file": Host.read,
    "unchanged pass": Host.unchanged,
    "on_stop, at the router": Host.at_the_router,
    "on_stop, read back": Host.on_stop,
    "on_start, read back": Host.on_start,
}
SLOW: dict[str, Callable[[Host], Measured]] = {
    "all back, one pass": Host.restart_and_pass,
    "all back, loop": Host.restart_in_the_loop,
}
Results = dict[str, Measured]
Made = dict[str, list[Measured]]


def play(host: Host, runs: int, made: Made) -> None:
    """One round: the quick figures in turns, so many times, and a restart for each slow one."""
    for figures, number in ((QUICK, runs), (SLOW, 1)):
        for _ in range(number):
            for name, measured in figures.items():
                made[name].append(measured(host))


def medians(made: Made) -> Results:
    """The median of each figure's seconds, processor and peak."""
    return {
        name: Measured(*(statistics.median(column) for column in zip(*all_of_it)))
        for name, all_of_it in made.items()
    }


def table(all_results: dict[int, Results]) -> None:
    """A line for each figure and number of routes; `ratio` is to the interpreter's start."""
    print(f"{'':24}{'routes':>7}{'ms':>9}{'ratio':>8}{'CPU ms':>9}{'MiB':>7}")
    for name in (*QUICK, *SLOW):
        for routes, found in all_results.items():
            made, bare = found[name], found["python -c pass"]
            print(
                f"{name:24}{routes:7}{made.seconds * 1e3:9.1f}{made.seconds / bare.seconds:8.1f}"
                f"{made.processor * 1e3:9.1f}{made.peak:7.1f}"
            )


def growth(all_results: dict[int, Results]) -> None:
    """How each figure grows: the slope in the plot, which is 1 for what is linear, and what a route adds."""
    sizes = [size for size in all_results if size >= 100]
    for name in (*QUICK, *SLOW):
        times = [all_results[size][name].seconds for size in sizes]
        slope = _slope([*map(math.log, sizes)], [*map(math.log, times)])
        added = [
            f"{(times[n + 1] - times[n]) / (sizes[n + 1] - sizes[n]) * 1e3:.3f} ms from {sizes[n]} to {sizes[n + 1]}"
            for n in range(len(sizes) - 1)
        ]
        print(f"{name:24} slope {slope:5.2f}; a route adds {', '.join(added)}")


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least squares."""
    x, y = statistics.mean(xs), statistics.mean(ys)
    over = sum((a - x) * (b - y) for a, b in zip(xs, ys))
    return over / sum((a - x) ** 2 for a in xs)


@click.command()
@click.option(
    "--exabgp",
    "version",
    type=click.Choice(VERSIONS),
    default=VERSIONS[-1],
    show_default=True,
)
@click.option(
    "--routes",
    "sizes",
    type=int,
    multiple=True,
    default=(10, 30, 100, 300, 1000),
    show_default=True,
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    help="Through all numbers of routes; one restart of ExaBGP each.",
)
@click.option("--runs", default=3, show_default=True, help="Of a round, in turns.")
@click.option(
    "--chunk",
    default=5,
    show_default=True,
    help="exabgp.api.chunk: examples/exabgp-pgcast.conf has 5, ExaBGP itself 1.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Write a plot.")
def main(
    version: str,
    sizes: tuple[int, ...],
    rounds: int,
    runs: int,
    chunk: int,
    svg: Path | None,
) -> None:
    """Measure passes, restarts of ExaBGP and callbacks against the number of routes."""
    enter_namespaces()
    clusters.carry(max(sizes))
    made: dict[int, Made] = {
        size: {name: [] for name in (*QUICK, *SLOW)} for size in sizes
    }
    for _ in range(rounds):
        for size in sizes:
            with (
                tempfile.TemporaryDirectory() as name,
                patroni(clusters.scopes(size), clusters.TIMELINE) as url,
                Bird(Path(name)) as bird,
                Exabgp(version, Path(name), exabgp_api_chunk=str(chunk)) as exabgp,
            ):
                bird.wait_established()
                play(Host(Path(name), url, size, bird, exabgp), runs, made[size])
    found = {size: medians(made[size]) for size in sizes}
    print(f"ExaBGP {version}, exabgp.api.chunk={chunk}")
    table(found)
    if len([size for size in sizes if size >= 100]) > 1:
        growth(found)
    if svg:
        series = {
            name: [(size, made[name].seconds * 1e3) for size, made in found.items()]
            for name in (*QUICK, *SLOW)
        }
        title = f"What routes cost, ten to a cluster (ExaBGP {version}, exabgp.api.chunk={chunk}, two cores)"
        svg.write_text(plot(title, "routes on the host", "milliseconds", series))


if __name__ == "__main__":
    main()
