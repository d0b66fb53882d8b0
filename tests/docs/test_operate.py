"""docs/guides/operate.md: its commands run, and its alerts name metrics that exist."""

import json
import re
import shutil
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from app.api.problems import PROBLEMS
from app.domain.drift import Effect
from app.domain.failures import RequestFailureKind
from app.relay.outcomes import HELD
from tests.docs.commands import (
    USER,
    USER_ID,
    await_settled,
    await_that,
    make_environment,
    read_health,
    region_of,
    run_region,
    run_script,
    serve_region,
)
from tests.docs.conftest import SECRET, UNREACHABLE, Relay, SupabaseWire, run_relay
from tests.docs.pages import CHECKOUT, GUIDES
from tests.forked import run_forked_relay
from tests.observability.collector import run_collector

OPERATE = GUIDES / "operate.md"
DASHBOARD = CHECKOUT / "deploy" / "grafana" / "relay.json"
ALERTS = CHECKOUT / "deploy" / "prometheus" / "alerts.yaml"

REFUSED = {
    "sqlstate": "23514",
    "message": 'new row for relation "users" violates check constraint "c"',
}


# --- Alerts ---------------------------------------------------------------------------------------


def test_alerts_use_existing_metrics_and_labels(relay: Relay) -> None:
    with urllib.request.urlopen(f"{relay.url}/metrics", timeout=60) as response:  # noqa: S310
        exposition = response.read().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))
    rules = [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    codes = {code for _, code in PROBLEMS.values()}
    for rule in rules:
        names = re.findall(r"\brelay_\w+", rule["expr"])
        assert names, rule
        assert [name for name in names if name not in kinds] == []
        # Only counters need a rate.
        for name in names:
            is_rated = re.search(rf"(?:rate|increase)\({name}\b", rule["expr"]) is not None
            assert is_rated == (kinds[name] == "counter"), rule
        for label, values in re.findall(r'(\w+)[!=]~?"([^"]+)"', rule["expr"]):
            kinds_of_failure = {kind.value for kind in RequestFailureKind} | {HELD}
            known = {"code": codes, "kind": kinds_of_failure | set(Effect)}[label]
            assert set(values.split("|")) <= known
        assert rule["labels"]["severity"] in ("page", "ticket")
    assert {rule["alert"] for rule in rules} == set(
        re.findall(r"`(Relay\w+)`", OPERATE.read_text())
    )


def test_alert_links_to_its_row_of_the_runbook() -> None:
    anchors = re.findall(r'^\| <a id="(\w+)"></a>`(\w+)`', OPERATE.read_text(), re.MULTILINE)
    rows = dict(anchors)
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            assert page.endswith("/docs/guides/operate.md")
            assert rows[anchor] == rule["alert"]


def test_dashboard_uses_existing_metrics_and_labels(relay: Relay) -> None:
    with urllib.request.urlopen(f"{relay.url}/metrics", timeout=60) as response:  # noqa: S310
        exposition = response.read().decode()
    names = set(re.findall(r"^# TYPE (\S+) ", exposition, re.MULTILINE))
    labels = set(re.findall(r'[{,](\w+)="', exposition)) | {"job", "instance", "le"}
    page = (CHECKOUT / "docs" / "reference" / "metrics.md").read_text()
    labels |= set(re.findall(r"`(\w+)`", page))
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if "targets" in panel]
    assert len(panels) >= 10
    for panel in panels:
        for target in panel["targets"]:
            used = set(re.findall(r"\b(?:relay|process)_\w+", target["expr"]))
            assert used, panel["title"]
            assert {name.removesuffix("_bucket") for name in used} <= names, panel["title"]
            by = re.findall(r"by \(([^)]*)\)", target["expr"])
            selected = re.findall(r"(\w+)=~?\"", target["expr"])
            written = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            assert {name.strip() for each in by for name in each.split(",")} <= labels
            assert {*selected, *written} <= labels, panel["title"]


def test_alerts_are_valid_for_prometheus() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine; on Debian it comes with prometheus")
    done = subprocess.run(  # noqa: S603
        [promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_reason_named_on_the_page_is_in_the_code() -> None:
    # Adjacent literals are one message.
    code = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in (CHECKOUT / "app").rglob("*.py")
    )
    rows = re.findall(
        r"^\| (?:<a[^>]*></a>)?`Relay\w+`[^|]*\|([^|]*)\|", OPERATE.read_text(), re.MULTILINE
    )
    reasons = [reason for row in rows for reason in re.findall(r"`([a-z][^`]* [^`]*)`", row)]
    assert len(reasons) >= 10
    for reason in reasons:
        fixed = re.sub(r": \w{5}, …$", "", reason)  # of a row's failure
        parts = [part.strip(" :") for part in re.split(r"^membership …|^trip …|…", fixed)]
        # A word or two may be a value.
        assert [part for part in parts if len(part) > 10 and part not in code] == [], reason


# --- Diagnosis ------------------------------------------------------------------------------------


def test_pending_events_are_listed(relay: Relay) -> None:
    event = relay.send("user.created", *USER)["event_id"]
    health = run_region("health", relay)
    assert '"status": "degraded"' in health
    assert "relay_pending_entities 1.0" in health
    waiting = run_region("waiting", relay, EVENT_ID=event, ENTITY=f"user/{USER_ID}")
    assert waiting.count(event) >= 3
    assert "pending" in waiting


def test_status_shows_an_outage_and_what_waits(relay: Relay) -> None:
    event = relay.send("user.created", *USER)["event_id"]
    await_that(
        lambda: "unreachable" in str(read_health(relay)["checks"]["supabase"]),
        lambda: read_health(relay),
    )
    status = run_region("status", relay, expected_code=1)
    assert status.startswith("DEGRADED")
    assert "next probe" in status
    assert "1 pending" in status
    assert event in status


def test_operator_token_can_list_events_and_replays(relay: Relay) -> None:
    event = relay.send("user.created", *USER)["event_id"]
    # Readers use their own URL.
    region = region_of("operator").replace("https://relay.example.com", relay.url)
    assert region != region_of("operator")
    script = f"{region}\nunset JWT_SECRET\nrelay events --json; relay replay --list"
    listed = run_script(script, relay.folder, make_environment(relay))
    assert json.loads(listed.splitlines()[0])["event_id"] == event


def test_dead_entity_is_found_and_replayed_after_the_fix(
    relay_on_wire: Relay, supabase_wire: SupabaseWire
) -> None:
    supabase_wire.row_failure = REFUSED
    dead = relay_on_wire.send("user.created", *USER, "--wait", "10", expected_code=1)
    assert dead["status"] == "dead"
    supabase_wire.row_failure = None
    # No terminal can confirm.
    shown = run_region_with_yes("dead", relay_on_wire)
    assert "23514" in shown
    assert "1 event of 1 entity would be replayed" in shown
    assert "1 applied" in shown
    again = run_region_with_yes("everything", relay_on_wire)
    assert "1 applied" in again


def run_region_with_yes(name: str, relay: Relay) -> str:
    """Run a region whose last replay asks for confirmation."""
    code = re.sub(
        r"^(relay replay (?:--status dead(?: --error-code 23514)?|--all))(?= *(?:#|$))",
        r"\1 --yes",
        region_of(name),
        flags=re.M,
    )
    assert code != region_of(name)
    return run_script(code, relay.folder, make_environment(relay))


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((401, {"message": "Invalid API key"}), "rejects the relay's requests (key, URL or plan)"),
        (
            (
                404,
                {
                    "code": "PGRST202",
                    "message": "Could not find the function public.relay_apply(request) in the"
                    " schema cache",
                },
            ),
            "the functions of the relay are missing or outdated: PGRST202",
        ),
        (
            (
                503,
                {
                    "code": "PGRST000",
                    "message": "Database connection error. Retrying the connection.",
                },
            ),
            "unreachable or failing: PGRST000",
        ),
    ],
)
def test_health_reason_for_supabase_is_on_the_page(
    relay_on_wire: Relay,
    supabase_wire: SupabaseWire,
    refusal: tuple[int, dict[str, str]],
    reason: str,
) -> None:
    supabase_wire.refusal = refusal
    relay_on_wire.send("user.created", *USER)
    await_that(
        lambda: reason in str(read_health(relay_on_wire)["checks"]["supabase"]),
        lambda: read_health(relay_on_wire),
    )
    assert reason.partition(":")[0] in OPERATE.read_text()
    seen = run_region(
        "supabase", relay_on_wire, SUPABASE_URL=supabase_wire.url, SUPABASE_SECRET_KEY="sb_secret_x"
    )
    assert seen == f"{refusal[0]}\n"
    supabase_wire.refusal = None
    await_settled(relay_on_wire)


def test_signature_check_tells_secrets_apart_and_stores_nothing(
    relay: Relay,
) -> None:
    right = run_region("signature", relay, expected_code=1, BACKEND_SECRET=SECRET)
    assert "422" in right
    wrong = run_region("signature", relay, expected_code=1, BACKEND_SECRET=f"whsec_{'b' * 32}")
    assert "does not accept the signature" in wrong
    assert read_health(relay)["backlog"]["pending"] == 0


# --- Evictions ------------------------------------------------------------------------------------


def test_eviction_is_in_force_in_supabase(
    relay_on_wire: Relay, supabase_wire: SupabaseWire
) -> None:
    trips = ["456e7890-e89b-12d3-a456-426614174001", "0f8fad5b-d9cb-469f-a165-70867728950e"]
    for trip in trips:
        ids = (f"trip_id={trip}", f"user_id={USER_ID}")
        relay_on_wire.send("membership.created", *ids, "role=MEMBER", "status=ACTIVE")
    await_settled(relay_on_wire)
    # No terminal can confirm.
    code = re.sub(
        r"^(relay evict [^#]*?)(?= *(?:#|$))", r"\1 --yes", region_of("evict"), flags=re.M
    )
    environment = make_environment(relay_on_wire) | {"USER_ID": USER_ID, "TRIP_ID": trips[0]}
    shown = run_script(code, relay_on_wire.folder, environment)
    assert shown.count("in force in Supabase after ") == 2
    deleted = [rows for verb, _, rows in supabase_wire.writes if verb == "delete"]
    assert deleted == [[{"trip_id": trip, "user_id": USER_ID}] for trip in trips]


# --- Privacy incidents ----------------------------------------------------------------------------


def test_exposure_is_measured_after_an_incident(relay: Relay) -> None:
    trip_id = "456e7890-e89b-12d3-a456-426614174001"
    relay.send("membership.deleted", f"trip_id={trip_id}", f"user_id={USER_ID}")
    start, end = "2026-01-02T03:00:00Z", "2100-01-01T00:00:00Z"
    shown = run_region("exposure", relay, TRIP_ID=trip_id, FROM=start, TO=end)
    assert shown.count(f"{trip_id}\t{USER_ID}") == 2
    exported = json.loads((relay.folder / "exposure.json").read_text())
    assert exported["summary"]["unapplied"] == 1
    (revocation,) = exported["revocations"]
    assert (revocation["user_id"], revocation["applied_at"]) == (USER_ID, None)


# --- The store ------------------------------------------------------------------------------------


def test_store_is_checked_in_use_and_shrunk_when_stopped(tmp_path: Path) -> None:
    with run_relay(tmp_path, UNREACHABLE) as running:
        running.send("user.created", *USER)
        assert run_region("store", running).endswith("ok\n")
    run_region("shrink", running)
    with run_relay(tmp_path, UNREACHABLE) as again:
        assert read_health(again)["backlog"]["pending"] == 1


def test_backup_of_a_running_relay_can_be_served_and_writes_nothing(
    tmp_path: Path, supabase_wire: SupabaseWire
) -> None:
    with run_relay(tmp_path, supabase_wire.url) as running:
        event = running.send("user.created", *USER, "--wait", "10")["event_id"]
        assert run_region("backup", running).endswith("ok\n")
        late = running.send("user.deleted", USER[0])["event_id"]
    for name in ("backup.db", "compact.db"):
        assert oct((tmp_path / name).stat().st_mode & 0o777) == "0o600"
        listed = list_events_of(tmp_path, name)
        assert event in listed
        assert late not in listed
    assert [write for write in supabase_wire.writes if write[0] == "delete"]


def list_events_of(folder: Path, backup: str) -> str:
    """Serve a backup with the page's command and list its events."""
    with serve_region(
        "look-into-backup", folder, {"backup.db": backup}, SUPABASE_SECRET_KEY="sb_secret_x"
    ) as looking:
        done = run_forked_relay(
            "events", "--json", folder=folder, environment=looking.caller_environment
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_upgrade_runs_on_a_copy(relay: Relay) -> None:
    relay.send("user.created", *USER)
    run_region("backup", relay)
    (relay.folder / "backup.db").rename(relay.folder / "upgrade.db")
    assert "revision" in run_region("upgrade", relay)


def test_erased_user_is_found_in_no_event(relay: Relay) -> None:
    relay.send("user.created", *USER)
    assert run_region("erased", relay, USER_ID=USER_ID) == "1\n"
    relay.send("user.deleted", USER[0])
    assert run_region("erased", relay, USER_ID=USER_ID) == "0\n"
    assert (
        not sqlite3.connect(relay.folder / "relay.db")
        .execute("select count(*) from entities where row like '%ana@%'")
        .fetchone()[0]
    )


# --- Rotation -------------------------------------------------------------------------------------


def test_hmac_secret_is_rotated_without_a_rejection(tmp_path: Path) -> None:
    old = SECRET
    with run_relay(tmp_path, UNREACHABLE) as running:
        new = read_secret(run_region("hmac", running))
    with run_relay(tmp_path, UNREACHABLE, WEBHOOK_SECRETS=f"{old},{new}") as running:
        assert running.send("user.created", *USER, "--secret", old)["status"] == "accepted"
        assert running.send("user.created", *USER, "--secret", new)["status"] == "accepted"
    with run_relay(tmp_path, UNREACHABLE, WEBHOOK_SECRETS=new) as running:
        assert running.send("user.created", *USER, "--secret", new)["status"] == "accepted"
        wrong = run_region("signature", running, expected_code=1, BACKEND_SECRET=old)
        assert "does not accept the signature" in wrong


def test_ed25519_key_replaces_a_shared_secret(tmp_path: Path) -> None:
    with run_relay(tmp_path, UNREACHABLE) as running:
        printed = run_region("ed25519", running)
    public, private = read_secret(printed), read_secret(printed, "private_key")
    with run_relay(tmp_path, UNREACHABLE, WEBHOOK_SECRETS=f"{SECRET},{public}") as running:
        assert running.send("user.created", *USER, "--secret", SECRET)["status"] == "accepted"
        assert running.send("user.created", *USER, "--secret", private)["status"] == "accepted"


def read_secret(printed: str, name: str = "WEBHOOK_SECRETS") -> str:
    found = re.search(rf"^{name}=(\S+)$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1]


def test_json_log_has_one_document_per_line(tmp_path: Path, supabase_wire: SupabaseWire) -> None:
    settings = {"SUPABASE_URL": supabase_wire.url, "SUPABASE_SECRET_KEY": "sb_secret_x"}
    with serve_region("log", tmp_path, {}, **settings) as running:
        run_region("signature", running, expected_code=1, BACKEND_SECRET=f"whsec_{'b' * 32}")
    lines = [json.loads(line) for line in (tmp_path / "relay.log").read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert any("rejected /webhooks: Unauthenticated (" in line["message"] for line in lines)
    assert "rejected /webhooks: Unauthenticated (" in OPERATE.read_text()


# --- Traces ---------------------------------------------------------------------------------------


def test_traces_reach_the_collector(tmp_path: Path) -> None:
    with run_collector() as collector:
        replacements = {"http://127.0.0.1:4318": collector.url}
        settings = {"SUPABASE_URL": UNREACHABLE, "SUPABASE_SECRET_KEY": "sb_secret_x"}
        with serve_region("traces", tmp_path, replacements, **settings) as running:
            running.send("user.created", *USER)
        names = {span.name for span in collector.spans}
    assert "POST /webhooks" in names
    page = OPERATE.read_text()
    assert all(
        f"`{name}`" in page
        for name in collector.find("POST /webhooks")[0].attributes
        if name.startswith("relay.")
    )
