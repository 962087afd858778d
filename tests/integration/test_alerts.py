"""The alert rules, as Prometheus evaluates them: two hosts of one cluster, pg1 leading, scraped every 15 s.

Each case changes some series of a healthy hour and names every alert that fires at its end.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).parents[2] / "examples" / "pgcast-alerts.yml"
RULES = [
    rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
]
HOUR = 240  # samples
ROUTE = 'scope="main", prefix="192.0.2.10/32", role="primary"'
Firing = set[tuple[str, str]]  # alert and instance; "" where it is about no single one


def healthy(host: str, leads: int) -> dict[str, str]:
    """What a host tells in an hour in which nothing happens, in promtool's notation."""
    series = {
        "pgcast_last_pass_timestamp_seconds": f"0+15x{HOUR}",
        f"pgcast_route_info {ROUTE}": f"1x{HOUR}",
        f"pgcast_route_wanted {ROUTE}": f"{leads}x{HOUR}",
        f"pgcast_route_announced {ROUTE}": f"{leads}x{HOUR}",
        f"pgcast_route_sessions {ROUTE}": f"{leads}x{HOUR}",
        f'pgcast_route_override {ROUTE}, order="hold"': f"0x{HOUR}",
        "pgcast_maintenance": f"0x{HOUR}",
        'pgcast_patroni_known scope="main", role="primary"': f"1x{HOUR}",
        "pgcast_exabgp_up": f"1x{HOUR}",
        'pgcast_neighbor_up neighbor="10.0.0.1"': f"1x{HOUR}",
        'pgcast_changes_total cause="callback"': f"3x{HOUR}",
        'pgcast_errors_total cause="callback", kind="failed"': f"2x{HOUR}",
        'pgcast_errors_total cause="callback", kind="refused"': f"0+1x{HOUR}",
        'pgcast_last_pass_trouble source="exabgp"': f"0x{HOUR}",
        'pgcast_last_pass_trouble source="files"': f"0x{HOUR}",
        'pgcast_last_pass_trouble source="patroni"': f"0x{HOUR}",
    }
    return {named(key, host): values for key, values in series.items()}


def named(key: str, host: str) -> str:
    """A series of a host: the metric and its other labels, apart by a blank."""
    metric, _, labels = key.partition(" ")
    return f'{metric}{{job="node", instance="{host}"{labels and ", "}{labels}}}'


def two_hosts() -> dict[str, str]:
    return {**healthy("pg1", 1), **healthy("pg2", 0)}


def at_the_end(before: int, now: int, minutes: float) -> str:
    """A value that changed some minutes before the end."""
    samples = int(minutes * 4)
    return f"{before}x{HOUR - samples - 1} {now}x{samples}"


def silent_since(minutes: float) -> dict[tuple[str, str], str]:
    """A reconciler that made no pass any more, whose file is still handed on."""
    samples = int(minutes * 4)
    ended = (HOUR - samples) * 15
    values = f"0+15x{HOUR - samples} {ended}x{samples - 1}"
    return {("pg1", "pgcast_last_pass_timestamp_seconds"): values}


def gone_since(minutes: float, host: str) -> dict[tuple[str, str], str]:
    """A host that is down: every series of its own ends."""
    samples = int(minutes * 4)
    gone = {}
    for series, values in healthy(host, int(host == "pg1")).items():
        metric, _, labels = series[:-1].partition(f'{{job="node", instance="{host}"')
        step = "0+15" if "timestamp" in metric else values.partition("x")[0]
        key = f"{metric} {labels[2:]}".strip()
        gone[host, key] = f"{step}x{HOUR - samples} stale"
    return gone


SESSIONS = f"pgcast_route_sessions {ROUTE}"
ANNOUNCED = f"pgcast_route_announced {ROUTE}"
SINCE = f"pgcast_route_override_start_timestamp_seconds {ROUTE}"
CASES: dict[str, tuple[Mapping[tuple[str, str], str], Firing]] = {
    "healthy": ({}, set()),
    "nobody announces": (
        {("pg1", SESSIONS): at_the_end(1, 0, 2)},
        {("PgcastVipNotAnnounced", "")},
    ),
    "nobody announces, for a moment": (
        {("pg1", SESSIONS): at_the_end(1, 0, 0.5)},
        set(),
    ),
    "the leader's host is down": (
        gone_since(4, "pg1"),
        {("PgcastVipNotAnnounced", ""), ("PgcastReconcilerAbsent", "pg1")},
    ),
    "the leader's ExaBGP hangs": (
        {
            ("pg1", SESSIONS): f"1x{HOUR - 9} stale",
            ("pg1", "pgcast_exabgp_up"): at_the_end(1, 0, 2),
        },
        {("PgcastVipNotAnnounced", ""), ("PgcastExabgpSilent", "pg1")},
    ),
    "two announce": (
        {("pg2", SESSIONS): at_the_end(0, 1, 2)},
        {("PgcastVipAnnouncedTwice", "")},
    ),
    "two announce, for a failover": ({("pg2", SESSIONS): at_the_end(0, 1, 0.5)}, set()),
    "the reconciler has ended": (
        silent_since(5),
        {("PgcastReconcilerStale", "pg1"), ("PgcastVipNotAnnounced", "")},
    ),
    "the reconciler is late": (silent_since(1.5), set()),
    "two hosts, one of them long silent": (
        {**silent_since(10), ("pg2", SESSIONS): at_the_end(0, 1, 9)},
        {
            ("PgcastReconcilerStale", "pg1")
        },  # what it announced is not believed any more
    ),
    "a replica's host is down": (
        gone_since(4, "pg2"),
        {("PgcastReconcilerAbsent", "pg2")},
    ),
    "wanted and not announced": (
        {("pg1", ANNOUNCED): at_the_end(1, 0, 2)},
        {("PgcastWantedNotAnnounced", "pg1")},
    ),
    "announced and not wanted": (
        {("pg2", ANNOUNCED): at_the_end(0, 1, 2)},
        {("PgcastAnnouncedNotWanted", "pg2")},
    ),
    "Patroni hangs": (
        {
            ("pg1", 'pgcast_patroni_known scope="main", role="primary"'): at_the_end(
                1, 0, 3
            ),
            ("pg1", 'pgcast_last_pass_trouble source="patroni"'): at_the_end(0, 1, 3),
        },
        {("PgcastPatroniUnknown", "pg1")},
    ),
    "a session is down": (
        {("pg1", 'pgcast_neighbor_up neighbor="10.0.0.1"'): at_the_end(1, 0, 2)},
        {("PgcastNeighborDown", "pg1")},
    ),
    "an order of this morning": (
        {("pg1", SINCE): f"-18000x{HOUR}"},
        {("PgcastOverrideStanding", "pg1")},
    ),
    "an order of just now": ({("pg1", SINCE): f"0x{HOUR}"}, set()),
    "an order that cannot be read": (
        {("pg1", f'pgcast_route_override {ROUTE}, order="hold"'): at_the_end(0, 1, 2)},
        {("PgcastOverrideUnreadable", "pg1")},
    ),
    "maintenance that somebody forgot": (
        {("pg2", "pgcast_maintenance"): f"1x{HOUR}"},
        {("PgcastMaintenance", "pg2")},
    ),
    "maintenance": ({("pg2", "pgcast_maintenance"): at_the_end(0, 1, 30)}, set()),
    "trouble at ExaBGP": (
        {("pg1", 'pgcast_last_pass_trouble source="exabgp"'): at_the_end(0, 1, 3)},
        {("PgcastPassTrouble", "pg1")},
    ),
    "a full disk": (
        {("pg2", 'pgcast_last_pass_trouble source="files"'): at_the_end(0, 1, 3)},
        {("PgcastPassTrouble", "pg2")},
    ),
    "callbacks fail": (
        {
            ("pg1", 'pgcast_errors_total cause="callback", kind="failed"'): (
                f"2x{HOUR - 20} 3+1x10 13x9"
            )
        },
        {("PgcastErrorsRising", "pg1")},
    ),
    "a failover": (
        {
            (host, 'pgcast_changes_total cause="callback"'): at_the_end(3, 5, 10)
            for host in ("pg1", "pg2")
        },
        set(),
    ),
    "failover after failover": (
        {
            (
                "pg1",
                'pgcast_changes_total cause="callback"',
            ): f"3x{HOUR - 20} 4+2x10 24x9"
        },
        {("PgcastFlapping", "pg1")},
    ),
}


def unit_test(
    name: str, series: Mapping[str, str], **test: list[dict[str, Any]]
) -> dict[str, Any]:
    """One unit test in promtool's notation."""
    given = [{"series": key, "values": values} for key, values in series.items()]
    return {"name": name, "interval": "15s", "input_series": given, **test}


def promtool(directory: Path, *tests: dict[str, Any]) -> None:
    """Run unit tests of the rules; fails with promtool's own words."""
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "15s"}
    path = directory / "tests.yml"
    path.write_text(yaml.safe_dump({**document, "tests": tests}))
    result = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def fire(firing: Firing) -> list[dict[str, Any]]:
    """That exactly these fire at the end of the hour."""
    expected = [
        {"labels": yaml_labels(alert, host), "value": 1}
        for alert, host in sorted(firing)
    ]
    expression = 'count by (alertname, instance) (ALERTS{alertstate="firing"})'
    return [{"expr": expression, "eval_time": "60m", "exp_samples": expected}]


def case(name: str) -> dict[str, Any]:
    """A case of the table as a unit test."""
    changes, firing = CASES[name]
    series = two_hosts()
    for (host, key), values in changes.items():
        series[named(key, host)] = values
    return unit_test(name, series, promql_expr_test=fire(firing))


def test_exactly_these_alerts_fire(tmp_path: Path) -> None:
    """In every case, none but these."""
    promtool(tmp_path, *map(case, CASES))


def yaml_labels(alert: str, host: str) -> str:
    """Labels in promtool's notation."""
    instance = f', instance="{host}"' if host else ""
    return f'{{alertname="{alert}"{instance}}}'


def test_no_host_tells_anything(tmp_path: Path) -> None:
    """A Prometheus that scrapes no host of ours says so."""
    series = {"up": f"1x{HOUR}"}
    expected = fire({("PgcastReconcilerAbsent", "")})
    promtool(tmp_path, unit_test("nobody", series, promql_expr_test=expected))


def test_what_somebody_reads_at_night(tmp_path: Path) -> None:
    """Summary and description name the host, the route and the command."""
    series = {**two_hosts(), named(ANNOUNCED, "pg2"): at_the_end(0, 1, 2)}
    labels = {
        "severity": "critical",
        "job": "node",
        "instance": "pg2",
        "scope": "main",
        "prefix": "192.0.2.10/32",
        "role": "primary",
    }
    annotations = {
        "summary": "pg2 announces 192.0.2.10/32 and must not",
        "description": "The reconciler cannot bring it in line. `journalctl -u pgcast-reconcile` tells why;"
        " `pgcast withdraw main 192.0.2.10/32`, and if that fails `systemctl restart exabgp`, which"
        " forgets every route.",
    }
    test: dict[str, Any] = {
        "alertname": "PgcastAnnouncedNotWanted",
        "eval_time": "60m",
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
    }
    promtool(tmp_path, unit_test("at night", series, alert_rule_test=[test]))


def test_every_alert_has_its_case_and_its_words() -> None:
    """One that fires in none could be one that cannot."""
    alerts = {rule["alert"]: rule for rule in RULES if "alert" in rule}
    assert set(alerts) == {alert for _, firing in CASES.values() for alert, _ in firing}
    for alert, rule in alerts.items():
        assert set(rule["annotations"]) == {"summary", "description"}, alert
        assert "`" in rule["annotations"]["description"], alert
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), alert


def test_promtool_finds_nothing_to_say() -> None:
    """With its linter, which counts two rules of one name and labels as a mistake."""
    command = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
