"""The `relay` command as a process, with a real relay."""

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.demo.local_supabase import LocalSupabase
from tests.e2e.conftest import RelayMaker, RelayProcess, find_free_port, strip_colours

USER = str(uuid.uuid4())
RELAY = Path(sys.executable).with_name("relay")


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [RELAY, *arguments],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_send_posts_an_event_that_supabase_holds_afterwards(relay: RelayProcess) -> None:
    sent = relay.run(
        "send", "user.created", f"id={USER}", "email=a@example.com", "username=a", "--wait", "10"
    )
    assert sent.returncode == 0, sent.stderr
    assert "200 applied" in strip_colours(sent.stdout)


def test_send_whose_wait_runs_out_says_why_and_exits_with_4(relay: RelayProcess) -> None:
    ids = (f"trip_id={uuid.uuid4()}", f"user_id={uuid.uuid4()}")
    sent = relay.run(
        "send", "membership.created", *ids, "role=MEMBER", "status=ACTIVE", "--wait", "2"
    )
    assert sent.returncode == 4, sent
    first, *reasons = sent.stderr.splitlines()
    assert first == "relay: the change was not applied within 2 s"
    assert "23503" in reasons[0]
    assert "The trip or user of this change is not in Supabase yet." in reasons[1]


def test_send_of_the_same_event_again_says_duplicate(relay: RelayProcess) -> None:
    arguments = ("send", "trip.deleted", f"id={USER}", "--id", "evt_1", "--json")
    timestamp = ("--timestamp", "2026-01-02T03:04:05Z")
    first, second = (relay.run(*arguments, *timestamp) for _ in range(2))
    assert json.loads(first.stdout) == {"event_id": "evt_1", "status": "accepted"}
    assert json.loads(second.stdout) == {"event_id": "evt_1", "status": "duplicate"}
    other = relay.run(*arguments, "--timestamp", "2026-01-02T03:04:06Z")
    assert other.returncode == 1


def test_send_of_a_bad_event_names_the_fields(relay: RelayProcess) -> None:
    sent = relay.run("send", "user.created", "id=nobody", "email=")
    assert sent.returncode == 1
    errors = strip_colours(sent.stderr)
    assert "422 input-invalid" in errors
    assert "/data/id: must be a UUID" in errors
    assert "/data/email: must not be empty" in errors
    assert "/data/username: is required" in errors


def test_send_reads_a_whole_body_from_standard_input(relay: RelayProcess) -> None:
    body = json.dumps(
        {"type": "trip.deleted", "timestamp": "2026-01-02T03:04:05Z", "data": {"id": USER}}
    )
    sent = relay.run("send", "-", "--json", standard_input=body)
    assert json.loads(sent.stdout)["status"] == "accepted"


def test_send_prints_a_curl_command_that_works(relay: RelayProcess) -> None:
    printed = relay.run("send", "trip.deleted", f"id={USER}", "--id", "evt_curl", "--curl")
    done = subprocess.run(  # noqa: S602 - it is made to be pasted into a shell
        printed.stdout, shell=True, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"event_id": "evt_curl", "status": "accepted"}


def test_send_to_an_unreachable_relay_names_the_url(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    secret = run("secret", "--json", folder=tmp_path)
    key = json.loads(secret.stdout)["WEBHOOK_SECRETS"]
    arguments = ("--url", url, "--secret", key, "--retry-seconds", "0")
    sent = run("send", "trip.deleted", f"id={USER}", *arguments, folder=tmp_path)
    assert sent.returncode == 3
    assert f"no relay responds at {url}" in sent.stderr
    assert "Traceback" not in sent.stderr


def test_send_without_a_secret_says_what_is_missing(tmp_path: Path) -> None:
    sent = run("send", "trip.deleted", f"id={USER}", folder=tmp_path)
    assert sent.returncode == 2
    assert "WEBHOOK_SECRETS" in sent.stderr
    assert "Traceback" not in sent.stderr


def test_token_authenticates_an_operator(relay: RelayProcess) -> None:
    token = relay.run("token", "--scope", "events:read", "--subject", "jane").stdout.strip()
    with relay.operator() as client:
        answer = client.get("/events/nothing", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 404


def test_secret_generates_a_new_one_each_time(tmp_path: Path) -> None:
    first, second = (
        json.loads(run("secret", "--json", folder=tmp_path).stdout)["WEBHOOK_SECRETS"]
        for _ in range(2)
    )
    assert first != second
    assert first.startswith("whsec_")


def test_secret_of_ed25519_signs_what_the_relay_verifies(
    own_relay: RelayProcess, tmp_path: Path
) -> None:
    relay = own_relay
    pair = json.loads(run("secret", "--kind", "ed25519", "--json", folder=tmp_path).stdout)
    relay.stop()
    secret, relay.secret = relay.secret, f"{relay.secret},{pair['WEBHOOK_SECRETS']}"
    relay.start()
    for key in (secret, pair["private_key"]):
        sent = relay.run("send", "trip.deleted", f"id={USER}", "--secret", key)
        assert sent.returncode == 0, sent.stderr


def test_serve_says_once_that_it_has_migrated(make_relay: RelayMaker) -> None:
    relay = make_relay(SUPABASE_URL="http://127.0.0.1:9", SUPABASE_SECRET_KEY="sb_secret_test")
    assert relay.stop() == 0
    relay.start()
    assert relay.log.count("migrated the store from revision None to ") == 1


def test_serve_on_a_port_in_use_says_so_in_one_sentence_and_exits_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = run(
            "serve",
            "--port",
            str(port),
            folder=tmp_path,
            SUPABASE_URL="http://127.0.0.1:1",
            SUPABASE_SECRET_KEY="sb_secret_x",
            WEBHOOK_SECRETS="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            JWT_SECRET="a secret of at least thirty-two bytes",
        )
    assert served.returncode == 1
    assert served.stderr == (
        f"relay: cannot listen on 127.0.0.1, port {port}: address already in use;"
        " check HOST and PORT\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_serve_with_several_invalid_settings_lists_them(tmp_path: Path) -> None:
    served = run("serve", folder=tmp_path, PORT="http", LOG_FORMAT="xml")
    assert served.returncode == 2
    first, *lines = served.stderr.splitlines()
    assert first == "relay: the configuration is invalid"
    assert [line[:4] for line in lines] == ["  - "] * 5
    assert "  - PORT must be a whole number, at least 0 and at most 65535" in lines


def test_migrate_creates_a_store_and_names_its_revision(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    first = run("migrate", folder=tmp_path, STORE_URL=url)
    second = run("migrate", "--json", folder=tmp_path, STORE_URL=url)
    assert "from revision none to " in first.stdout
    head = json.loads(second.stdout)["after"]
    assert json.loads(second.stdout) == {"before": head, "after": head}
    assert first.stdout.rstrip(".\n").endswith(head)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "SUPABASE_URL is not set"),
        ({}, "SUPABASE_SECRET_KEY is not set, and neither is SUPABASE_SERVICE_ROLE_KEY"),
        ({"SUPABASE_URL": "x"}, "SUPABASE_URL"),
        (
            {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SECRET_KEY": "sb_secret_x"},
            "WEBHOOK_AUTH is hmac, which needs WEBHOOK_SECRETS",
        ),
        (
            {
                "SUPABASE_URL": "http://127.0.0.1:1",
                "SUPABASE_SECRET_KEY": "sb_publishable_x",
                "WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            },
            "publishable key",
        ),
        (
            {
                "SUPABASE_URL": "http://127.0.0.1:1",
                "SUPABASE_SECRET_KEY": "sb_secret_x",
                "WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "STORE_URL": "sqlite:////nowhere/at/all/relay.db",
            },
            "STORE_URL cannot be opened",
        ),
    ],
)
def test_serve_with_a_configuration_error_names_it_and_exits_with_2(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    # The port is bound before the store is opened, and another program may have the default one.
    served = run("serve", folder=tmp_path, PORT="0", **environment)
    assert served.returncode == 2
    assert sentence in served.stderr
    assert "Traceback" not in served.stderr


def test_demo_once_shows_denied_granted_denied(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    # The fixture has installed what the demo needs; the demo starts its own.
    assert local_supabase.pid > 0
    shown = run("demo", folder=tmp_path, ONCE="1", HOME=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    steps = [line.split("│")[1:4] for line in shown.stdout.splitlines() if line.startswith("│")]
    assert [(step.strip(), seen.strip()) for step, seen, _ in steps] == [
        ("no membership", "nothing"),
        ("membership.created", "“Tram 28 at nine?”"),
        ("membership.deleted", "nothing"),
    ]
    assert all("ms" in took for _, _, took in steps[1:])
    assert not (tmp_path / ".local" / "demo.env").exists()


@pytest.fixture
def demo(local_supabase: LocalSupabase, tmp_path: Path) -> Iterator[Path]:
    """Give the folder of a demo that serves."""
    assert local_supabase.pid > 0
    with subprocess.Popen(  # noqa: S603
        [RELAY, "demo", "--port", str(find_free_port())],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            while "Ctrl-C" not in (line := process.stdout.readline()):
                assert line, "the demo ended"
            yield tmp_path
        finally:
            process.terminate()


def test_demo_leaves_an_environment_in_which_every_command_works(demo: Path) -> None:
    environment = demo / ".local" / "demo.env"
    assert oct(environment.stat().st_mode & 0o777) == "0o600"

    def run_in_shell(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", f". .local/demo.env && {command}"],
            env={"PATH": "/usr/bin:/bin"},
            cwd=demo,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    done = run_in_shell("relay doctor && relay events && relay replay --all --yes")
    assert done.returncode == 0, done
    access = run_in_shell('relay access --user "$USER_ID" --trip "$TRIP_ID"')
    assert "denied" in access.stdout, access
    membership = 'trip_id="$TRIP_ID" user_id="$USER_ID" role=MEMBER status=ACTIVE'
    sent = run_in_shell(
        f"relay send membership.created {membership} --wait 10"
        ' && relay access --user "$USER_ID" --trip "$TRIP_ID"'
    )
    assert sent.returncode == 0, sent
