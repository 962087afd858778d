"""The reconciler's metrics: what node_exporter and promtool read in the file that a real pass wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.bird import Bird
from tests.integration.exabgp import Exabgp
from tests.integration.patroni import PRIMARY, REPLICA, FakePatroni, says
from tests.integration.pgcast import Pgcast
from tests.integration.test_reconcile import ANNOUNCED, hang, running
from tests.integration.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUTE = '{prefix="192.0.2.10/32",role="primary",scope="main"}'
CLUSTER = '{role="primary",scope="main"}'
EXPORTER = "127.0.0.1:9109"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the metrics go: a directory of their own."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    return directory / "pgcast.prom"


def read(text: str) -> dict[str, float]:
    """Each sample, under its name and its labels in their order."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def one_pass(pgcast: Pgcast, file: Path) -> tuple[int, str, dict[str, float]]:
    """Exit code, stderr, and what the file then holds."""
    code, out, err = pgcast.run("reconcile", "--textfile", str(file))
    assert out == ""
    return code, err, read(file.read_text())


def test_one_pass(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    file: Path,
) -> None:
    """What stands after the pass, the session as BIRD has it, and a file that another user may read."""
    code, err, found = one_pass(pgcast, file)
    assert code == 0, err
    bird.wait_table(ANNOUNCED)
    assert found[f"pgcast_route_wanted{ROUTE}"] == 1
    assert found[f"pgcast_route_announced{ROUTE}"] == 1
    assert found[f"pgcast_route_sessions{ROUTE}"] == 1
    assert found[f"pgcast_route_med{ROUTE}"] == 99_993
    assert found[f"pgcast_patroni_eligible{CLUSTER}"] == 1
    assert found[f"pgcast_patroni_timeline{CLUSTER}"] == 7
    assert found['pgcast_neighbor_up{neighbor="10.9.0.2"}'] == 1
    assert found['pgcast_neighbor_hold_time_seconds{neighbor="10.9.0.2"}'] == 9
    info = next(key for key in found if key.startswith("pgcast_info"))
    assert f'exabgp="{exabgp.version}' in info
    trouble = {found[key] for key in found if "_trouble" in key}
    assert trouble == {0}
    assert 0 < found["pgcast_last_pass_duration_seconds"] < 30
    assert abs(time.time() - found["pgcast_last_pass_timestamp_seconds"]) < 60
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert os.listdir(file.parent) == [file.name]

    patroni.will_say([REPLICA])
    assert one_pass(pgcast, file)[2][f"pgcast_route_announced{ROUTE}"] == 0
    bird.wait_table({})


def test_the_session_is_down(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast, file: Path
) -> None:
    """The route stands in Adj-RIB-Out and is announced over no session."""
    bird.disable()
    try:
        found = until(
            lambda: down(one_pass(pgcast, file)[2]), "ExaBGP's notice of its session"
        )
    finally:
        bird.enable()
    assert found[f"pgcast_route_announced{ROUTE}"] == 1
    assert found[f"pgcast_route_sessions{ROUTE}"] == 0


def down(found: dict[str, float]) -> dict[str, float]:
    return {} if found['pgcast_neighbor_up{neighbor="10.9.0.2"}'] else found


@pytest.mark.any_version
def test_patroni_gives_no_answer(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, file: Path
) -> None:
    """Within the grace nothing is wanted and the route stands; after it, it must not."""
    pgcast.document["reconcile"] = {"unreachable_grace": 600}
    pgcast.announce()
    patroni.will_say([says(401)])
    code, _, found = one_pass(pgcast, file)
    assert code == 69
    assert found[f"pgcast_patroni_known{CLUSTER}"] == 0
    assert found['pgcast_last_pass_trouble{source="patroni"}'] == 1
    assert found['pgcast_last_pass_trouble{source="exabgp"}'] == 0
    assert f"pgcast_route_wanted{ROUTE}" not in found
    assert f"pgcast_patroni_eligible{CLUSTER}" not in found
    assert found[f"pgcast_route_announced{ROUTE}"] == 1
    pgcast.document["reconcile"] = {"unreachable_grace": 0.01}
    found = one_pass(pgcast, file)[2]
    assert found[f"pgcast_route_wanted{ROUTE}"] == 0
    assert found[f"pgcast_route_announced{ROUTE}"] == 0


@pytest.mark.any_version
def test_exabgp_gives_no_answer(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, file: Path
) -> None:
    """What Patroni said is told, what stands is not; nor what stood before."""
    pgcast.document["exabgp"]["timeout"] = 0.5
    one_pass(pgcast, file)
    with exabgp.stopped():
        code, err, found = one_pass(pgcast, file)
    assert code == 69
    assert "did not answer them all" in err
    assert found["pgcast_exabgp_up"] == 0
    assert found['pgcast_last_pass_trouble{source="exabgp"}'] == 1
    assert found[f"pgcast_route_wanted{ROUTE}"] == 1
    assert found[f"pgcast_patroni_known{CLUSTER}"] == 1
    assert not [key for key in found if "_announced" in key or "_neighbor" in key]


@pytest.mark.any_version
def test_the_state_directory_cannot_be_used(
    exabgp: Exabgp, pgcast: Pgcast, file: Path
) -> None:
    """The pass does its work, and the metrics tell of its trouble."""
    pgcast.state.rmdir()
    code, err, found = one_pass(pgcast, file)
    assert code == 0
    assert "state file" in err
    assert found['pgcast_last_pass_trouble{source="files"}'] == 1
    assert found[f"pgcast_route_announced{ROUTE}"] == 1


@pytest.mark.any_version
def test_the_loop_writes_each_pass(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, file: Path
) -> None:
    """A reader sees the change, and in ever so many looks nothing but whole files."""
    with running(pgcast, "--textfile", str(file), "--interval", "0.1") as process:
        until(file.exists, "the first file")
        for reply in (PRIMARY, REPLICA, PRIMARY):
            patroni.will_say([reply])
            look_until(file, announced=reply is PRIMARY, passes=5)
        process.terminate()
        assert process.wait(10) == 0
    assert os.listdir(file.parent) == [file.name]


def look_until(file: Path, announced: bool, passes: int) -> None:
    """Read it without a pause, until it has told so in so many passes."""
    texts: set[str] = set()
    end = time.monotonic() + 30
    while len(texts) < passes:
        text = whole(file)
        if read(text)[f"pgcast_route_announced{ROUTE}"] == announced:
            texts.add(text)
        assert time.monotonic() < end


def whole(file: Path) -> str:
    """What it holds, which must go up to the end of its last line."""
    text = file.read_text()
    assert re.search(r"\npgcast_last_pass_timestamp_seconds \S+\n$", text), text
    return text


@pytest.mark.any_version
def test_a_killed_writer_leaves_nothing_that_matters(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast, file: Path
) -> None:
    """What it left is of no name that node_exporter reads, and the next one makes it anew."""
    leftover = file.with_name(f".{file.name}.new")
    assert not leftover.name.endswith(".prom")
    outside = file.parent.parent / "outside"
    outside.write_text("mine")
    for left in ("file", "of somebody", "link", "fifo"):
        if left == "link":
            leftover.symlink_to(outside)
        elif left == "fifo":
            os.mkfifo(leftover)
        else:
            leftover.write_text("half a li")
            leftover.chmod(0o000)
        code, err, found = one_pass(pgcast, file)
        assert (code, found[f"pgcast_route_announced{ROUTE}"]) == (0, 1), err
        assert os.listdir(file.parent) == [file.name]
    assert outside.read_text() == "mine"


def differs(file: Path, before: str) -> bool:
    return file.read_text() != before


@pytest.mark.any_version
def test_killed_at_any_moment(
    exabgp: Exabgp, bird: Bird, pgcast: Pgcast, file: Path
) -> None:
    """SIGKILL in the middle of passes that follow each other: the file is whole after each."""
    one_pass(pgcast, file)
    for _ in range(5):
        before = file.read_text()
        with running(pgcast, "--textfile", str(file), "--interval", "0.1") as process:
            until(partial(differs, file, before), "a pass")
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert whole(file)
        assert len(os.listdir(file.parent)) <= 2


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("options", "reason"),
    [("ro", "Read-only file system"), ("size=4k", "No space left on device")],
)
def test_a_directory_that_takes_no_file(
    exabgp: Exabgp,
    bird: Bird,
    patroni: FakePatroni,
    pgcast: Pgcast,
    file: Path,
    options: str,
    reason: str,
) -> None:
    """Told once by the loop, which goes on; one pass is as good as without the file."""
    how = ["-t", "tmpfs", "-o", options, "tmpfs", str(file.parent)]
    subprocess.run(["mount", *how], check=True)
    try:
        told = f"pgcast: metrics are not written to {file}: {reason}: can this user make files in {file.parent}?"
        code, out, err = pgcast.run("reconcile", "--textfile", str(file))
        assert (code, out) == (0, "")
        assert err.splitlines()[-1] == told
        assert not file.exists()
        bird.wait_table(ANNOUNCED)
        with running(pgcast, "--textfile", str(file)) as process:
            patroni.will_say([REPLICA])
            bird.wait_table({})
            asked = len(patroni.paths)
            until(lambda: len(patroni.paths) > asked + 3, "some more passes")
            process.terminate()
            assert process.communicate(timeout=10)[1].splitlines().count(told) == 1
            assert process.returncode == 0
    finally:
        subprocess.run(["umount", str(file.parent)], check=True)


@pytest.mark.any_version
def test_a_file_that_is_none(exabgp: Exabgp, pgcast: Pgcast, file: Path) -> None:
    """Root's --textfile /dev/null must not make a file of it."""
    os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    code, _, err = pgcast.run("reconcile", "--textfile", str(file))
    assert code == 0
    assert "it is there and is not a plain file" in err
    assert stat.S_ISCHR(file.stat().st_mode)


@pytest.mark.any_version
def test_a_disk_that_does_not_answer_holds_nothing_up(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, file: Path
) -> None:
    """Every fsync takes a minute: routes follow Patroni all the same."""
    with running(pgcast, "--textfile", str(file)) as process:
        until(file.exists, "the first file")
        slow = ["strace", "-qq", "-f", "-p", str(process.pid), "-o", "/dev/null"]
        slow += ["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=60s"]
        strace = subprocess.Popen(slow)
        try:
            before = until(lambda: silent(file), "a hung write")
            for reply, table in ((REPLICA, {}), (PRIMARY, ANNOUNCED)):
                patroni.will_say([reply])
                bird.wait_table(table)
            assert file.stat().st_mtime_ns == before
        finally:
            strace.kill()
            strace.wait()
        process.kill()
        err = process.communicate()[1]
    assert "its disk does not answer" in err


def silent(file: Path) -> int:
    """When the file was last written, once it is some passes old."""
    written = file.stat().st_mtime_ns
    return written if time.time_ns() - written > 2 * 10**9 else 0


@pytest.mark.any_version
def test_without_the_library(exabgp: Exabgp, bird: Bird, pgcast: Pgcast) -> None:
    """One line with the command that helps, before anything is done; without the option it is not missed."""
    pgcast.run("check-config")  # writes the configuration
    blocked = "import sys; sys.modules['prometheus_client'] = None; from pgcast_hooks.cli import main; main()"
    command = [sys.executable, "-c", blocked, "--config", str(pgcast.path), "reconcile"]
    textfile = [*command, "--textfile", "/run/x.prom"]
    result = subprocess.run(textfile, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr == (
        "pgcast: --textfile needs prometheus_client, which is not installed:"
        f" {sys.executable} -m pip install prometheus_client\n"
    )
    assert bird.table() == {}
    subprocess.run(command, check=True)
    bird.wait_table(ANNOUNCED)


@pytest.mark.any_version
def test_a_dry_run_writes_none(exabgp: Exabgp, pgcast: Pgcast, file: Path) -> None:
    """A mistake of usage, before anything is done."""
    options = ["--dry-run", "--textfile", str(file)]
    code, out, err = pgcast.run("reconcile", *options)
    assert (code, out) == (2, "")
    assert "--dry-run writes no --textfile" in err
    assert not file.exists()


@pytest.mark.any_version
def test_promtool_accepts_it(exabgp: Exabgp, pgcast: Pgcast, file: Path) -> None:
    """Its linter knows Prometheus' rules for names, units and help."""
    one_pass(pgcast, file)
    check = subprocess.run(
        ["promtool", "check", "metrics"],
        input=file.read_text(),
        capture_output=True,
        text=True,
    )
    assert (check.returncode, check.stdout + check.stderr) == (0, "")


@contextmanager
def node_exporter(directory: Path) -> Iterator[str]:
    """Debian's, with nothing but files; yields its URL."""
    command = ["prometheus-node-exporter", "--collector.disable-defaults"]
    command += ["--collector.textfile", f"--collector.textfile.directory={directory}"]
    command += [f"--web.listen-address={EXPORTER}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{EXPORTER}/metrics"
        finally:
            process.terminate()


def scrape(url: str) -> dict[str, float]:
    """What Prometheus would get; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return read(answer.read().decode())
    except urllib.error.URLError:
        return {}


@pytest.mark.any_version
def test_node_exporter_hands_on_what_a_link_leads_to(
    exabgp: Exabgp, bird: Bird, patroni: FakePatroni, pgcast: Pgcast, file: Path
) -> None:
    """As the README says: root's directory holds a link, the file is where the service may write."""
    collected = file.parent.parent / "node-exporter"
    collected.mkdir()
    (collected / file.name).symlink_to(file)
    file.with_name(f".{file.name}.new").write_text("half a li")
    ours = one_pass(pgcast, file)[2]
    with node_exporter(collected) as url:
        told = until(lambda: scrape(url), "node_exporter")
        assert told["node_textfile_scrape_error"] == 0
        assert {k: told.get(k) for k in ours} == ours
        patroni.will_say([hang])
        file.with_name(f".{file.name}.new").write_text("half a li")
        ours = one_pass(pgcast, file)[2]
        assert {k: scrape(url).get(k) for k in ours} == ours


def test_the_dashboard_s_queries_parse(tmp_path: Path) -> None:
    """Each as a rule of its own, with Grafana's variables replaced as Grafana does."""
    dashboard = json.loads((EXAMPLES / "pgcast-dashboard.json").read_text())
    queries = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    assert len(queries) > 15
    rules = [
        {
            "record": f"query:{number}",
            "expr": re.sub(r"\$\w+", ".*", query.replace("$__rate_interval", "1m")),
        }
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
