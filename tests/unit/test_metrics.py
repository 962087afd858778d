"""What a pass found, as Prometheus reads it; and the documents that name its metrics."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pgcast_hooks.metrics import METRICS, Facts, RouteFacts, render
from pgcast_hooks.model import (
    Eligibility,
    Neighbor,
    Observation,
    Order,
    Override,
    Question,
    RibEntry,
    Role,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "pgcast-dashboard.json").read_text())
PREFIX = ipaddress.ip_network("192.0.2.10/32")
ENTRY = RibEntry("10.0.0.1", "10.0.0.11", PREFIX, "10.0.0.11", 99_993, 107)
ROUTE = RouteFacts("main", PREFIX, Role.PRIMARY, True, (ENTRY,))
SEEN = {
    ("main", Question(Role.PRIMARY)): Observation(
        Eligibility.ELIGIBLE, "primary on timeline 7", 7
    )
}
UP = Neighbor("10.0.0.1", "10.0.0.11", "established", 5, 65000, 9)
DOWN = Neighbor("10.0.0.2", "10.0.0.11", "idle")
FACTS = Facts(
    routes=(ROUTE,),
    observations=SEEN,
    neighbors=(UP, DOWN),
    counts={("callback", "changed"): 3, ("operator", "failed"): 1},
    seconds=0.012,
    trouble=frozenset({"files"}),
    version="1.2.3",
    exabgp="5.0.15",
)
Samples = dict[tuple[str, ...], float]


def samples(facts: Facts) -> dict[str, Samples]:
    """Metric to its samples, each under the values of its labels, as METRICS orders them."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(render(facts).decode()):
        for sample in family.samples:
            names = METRICS[sample.name].labels
            assert set(sample.labels) == set(names)
            of_metric = found.setdefault(sample.name, {})
            key = tuple(sample.labels[name] for name in names)
            assert key not in of_metric  # node_exporter would drop the whole file
            of_metric[key] = sample.value
    return found


def of_route(**changes: Any) -> dict[str, Samples]:
    return samples(FACTS._replace(routes=(ROUTE._replace(**changes),)))


R = ("main", "192.0.2.10/32", "primary")


def test_a_leader() -> None:
    """Every sample of a pass on a leader that has no trouble at ExaBGP or Patroni."""
    found = samples(FACTS)
    ended = found.pop("pgcast_last_pass_timestamp_seconds")[()]
    assert abs(ended - time.time()) < 60
    counts = {(cause,): 0.0 for cause in ("callback", "reconcile", "operator")}
    errors = {
        (cause, kind): 0.0 for (cause,) in counts for kind in ("refused", "failed")
    }
    assert found == {
        "pgcast_info": {("1.2.3", "5.0.15"): 1},
        "pgcast_route_info": {R: 1},
        "pgcast_route_wanted": {R: 1},
        "pgcast_route_announced": {R: 1},
        "pgcast_route_sessions": {R: 1},
        "pgcast_route_med": {R: 99_993},
        "pgcast_route_local_preference": {R: 107},
        "pgcast_route_override": {
            (*R, order): 0 for order in ("announce", "withdraw", "drain", "hold")
        },
        "pgcast_maintenance": {(): 0},
        "pgcast_patroni_known": {("main", "primary"): 1},
        "pgcast_patroni_eligible": {("main", "primary"): 1},
        "pgcast_patroni_timeline": {("main", "primary"): 7},
        "pgcast_exabgp_up": {(): 1},
        "pgcast_neighbor_up": {("10.0.0.1",): 1, ("10.0.0.2",): 0},
        "pgcast_neighbor_hold_time_seconds": {("10.0.0.1",): 9},
        "pgcast_changes_total": {**counts, ("callback",): 3},
        "pgcast_errors_total": {**errors, ("operator", "failed"): 1},
        "pgcast_last_pass_duration_seconds": {(): 0.012},
        "pgcast_last_pass_trouble": {("exabgp",): 0, ("patroni",): 0, ("files",): 1},
    }


def test_a_replica() -> None:
    """Withdrawn is 0, and there is no MED and no timeline."""
    no = Observation(Eligibility.NOT_ELIGIBLE, "Patroni says role replica")
    route = ROUTE._replace(wanted=False, standing=())
    found = samples(
        FACTS._replace(routes=(route,), observations=dict.fromkeys(SEEN, no))
    )
    assert found["pgcast_route_wanted"] == {R: 0}
    assert found["pgcast_route_announced"] == found["pgcast_route_sessions"] == {R: 0}
    assert found["pgcast_patroni_eligible"] == {("main", "primary"): 0}
    absent = {"med", "local_preference"}
    assert not {f"pgcast_route_{name}" for name in absent} & set(found)
    assert "pgcast_patroni_timeline" not in found


def test_what_is_not_known_is_absent() -> None:
    """Neither 0, which would be a lie, nor NaN, which makes every sum one."""
    unknown = Observation(Eligibility.UNKNOWN, "Patroni did not answer")
    facts = Facts(
        (ROUTE._replace(wanted=None, standing=None),),
        dict.fromkeys(SEEN, unknown),
        None,
        {},
        2.0,
        frozenset({"patroni", "exabgp"}),
        "1.2.3",
        None,
    )
    found = samples(facts)
    assert found["pgcast_info"] == {("1.2.3", ""): 1}
    assert found["pgcast_exabgp_up"] == {(): 0}
    assert found["pgcast_patroni_known"] == {("main", "primary"): 0}
    assert set(METRICS) - set(found) == {
        "pgcast_route_wanted",
        "pgcast_route_announced",
        "pgcast_route_sessions",
        "pgcast_route_med",
        "pgcast_route_local_preference",
        "pgcast_route_override_start_timestamp_seconds",
        "pgcast_route_override_end_timestamp_seconds",
        "pgcast_patroni_eligible",
        "pgcast_patroni_timeline",
        "pgcast_neighbor_up",
        "pgcast_neighbor_hold_time_seconds",
    }
    assert b"NaN" not in render(facts)


def test_the_route_s_session_is_down() -> None:
    """It stands in Adj-RIB-Out, and nobody hears it."""
    found = of_route(standing=(ENTRY._replace(neighbor="10.0.0.2"),))
    assert found["pgcast_route_announced"] == {R: 1}
    assert found["pgcast_route_sessions"] == {R: 0}


def test_two_neighbors() -> None:
    """The worst of what each was sent."""
    other = ENTRY._replace(neighbor="10.0.0.3", med=99_995, local_preference=105)
    facts = FACTS._replace(
        routes=(ROUTE._replace(standing=(ENTRY, other)),),
        neighbors=(UP, UP._replace(address="10.0.0.3")),
    )
    found = samples(facts)
    assert found["pgcast_route_sessions"] == {R: 2}
    assert found["pgcast_route_med"] == {R: 99_995}
    assert found["pgcast_route_local_preference"] == {R: 105}


def test_two_sessions_to_one_address() -> None:
    """One sample: up only if both are."""
    second = UP._replace(local="10.0.0.12", state="active", hold_time=180)
    for neighbors in ((UP, second), (second, UP)):
        found = samples(FACTS._replace(neighbors=neighbors))
        assert found["pgcast_neighbor_up"] == {("10.0.0.1",): 0}
        assert found["pgcast_neighbor_hold_time_seconds"] == {("10.0.0.1",): 180}


@pytest.mark.parametrize("order", Order)
def test_an_order(order: Order) -> None:
    """Which one, since when and until when."""
    found = of_route(override=Override(order, "test", "root", 1000.0, 2800.5))
    standing = {key for key, value in found["pgcast_route_override"].items() if value}
    assert standing == {(*R, order.value)}
    name = "pgcast_route_override_{}_timestamp_seconds"
    assert found[name.format("start")] == {R: 1000}
    assert found[name.format("end")] == {R: 2800.5}
    assert found["pgcast_maintenance"] == {(): 0}


def test_maintenance() -> None:
    """An order for the whole host, with no end."""
    order = Override(Order.WITHDRAW, "disk", "root", 1000.0, whole_host=True)
    found = of_route(override=order)
    assert found["pgcast_maintenance"] == {(): 1}
    assert "pgcast_route_override_end_timestamp_seconds" not in found


def test_a_scope_with_every_letter() -> None:
    """Quotes, backslashes and line ends stay in their label."""
    scope = 'a"b\\c\nd{}'
    assert of_route(scope=scope)["pgcast_route_info"] == {(scope, *R[1:]): 1}


def everything() -> str:
    """A text with every metric there is."""
    route = ROUTE._replace(override=Override(Order.WITHDRAW, "x", "root", 1.0, 2.0))
    return render(FACTS._replace(routes=(route,))).decode()


EMITTED = set(re.findall(r"^(pgcast_\w+)", everything(), re.M))


def test_every_metric_has_its_help_and_type() -> None:
    """What ends in _total is a counter, all else a gauge."""
    assert set(METRICS) == EMITTED
    for name, metric in METRICS.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        assert f"# HELP {name} {metric.help}\n# TYPE {name} {kind}\n" in everything()


def test_the_readme_has_every_metric_with_its_labels() -> None:
    """And none that is not there."""
    section = (ROOT / "README.md").read_text().partition("## Metrics")[2]
    table = section.partition("\n## ")[0]
    rows = re.findall(r"^\| `(pgcast_\w+)(?:\{(.*?)\})?` \|", table, re.M)
    documented = {name: tuple(re.findall(r"\w+", labels)) for name, labels in rows}
    assert documented == {name: metric.labels for name, metric in METRICS.items()}


def queries() -> dict[str, str]:
    """Each query of the dashboard, under the panel that makes it."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }
    for annotation in DASHBOARD["annotations"]["list"]:
        found[annotation["name"]] = annotation["expr"]
    return found


def expressions() -> dict[str, str]:
    """Each rule of the alerts."""
    document = yaml.safe_load((EXAMPLES / "pgcast-alerts.yml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


VARIABLES = {
    variable["name"]: variable["query"] for variable in DASHBOARD["templating"]["list"]
}
LOOKUPS = {
    name: query["query"] for name, query in VARIABLES.items() if isinstance(query, dict)
}
LABEL = re.compile(r"\b(\w+)(?:!=|=~|!~|=(?!=))")


@pytest.mark.parametrize(
    "source",
    [expressions(), queries(), LOOKUPS],
    ids=["alerts", "dashboard", "lookups"],
)
def test_what_is_asked_for_is_told(source: dict[str, str]) -> None:
    """Every metric exists, and every label that is matched belongs to one of them."""
    assert source
    for name, expression in source.items():
        metrics = set(re.findall(r"(?<![\w:])pgcast_\w+", expression))
        assert metrics <= EMITTED, name
        labels = {label for metric in metrics for label in METRICS[metric].labels}
        matched = set(LABEL.findall(re.sub(r'"[^"]*"', '""', expression)))
        assert matched <= labels | {"job", "instance"} or ":" in expression, name


def test_the_dashboard_uses_every_metric() -> None:
    """But for those that another says as well."""
    used = set(
        re.findall(r"pgcast_\w+", " ".join([*queries().values(), *LOOKUPS.values()]))
    )
    assert EMITTED - used == {
        "pgcast_patroni_known",  # the gap in pgcast_patroni_eligible
        "pgcast_exabgp_up",  # trouble, and the gap in pgcast_route_announced
        "pgcast_route_override_start_timestamp_seconds",
        "pgcast_route_override_end_timestamp_seconds",
    }


def test_the_dashboard_s_variables() -> None:
    """Those that are used are defined, and the other way round."""
    text = json.dumps({**DASHBOARD, "templating": None})
    used = set(re.findall(r"\$\{?([a-zA-Z]\w*)", text))
    assert used == set(VARIABLES)


def test_the_dashboard_s_panels() -> None:
    """As Grafana wants them: each with its own id and place, within 24 columns."""
    assert (
        DASHBOARD["schemaVersion"] == 38
    )  # Grafana 10; later ones raise it themselves
    panels = DASHBOARD["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids) > 10
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references) > 0
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {
                "${datasource}"
            }
