"""`relay secret` and `relay token`."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from app.auth.claims import Scope
from app.auth.signatures import sign
from tests.cli.conftest import RunCommand, verify_token


async def test_token_holds_the_options_and_the_settings(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("JWT_AUDIENCE", "relay")
    arguments = ("token", "--scope", "events:read", "--scope", "replay:write", "--subject", "jane")
    made = json.loads(run(*arguments, "--hours", "2", "--json").out)
    assert made["claims"]["iss"] == "https://issuer.test"
    assert abs(made["claims"]["exp"] - time.time() - 7200) < 30
    for token in (made["token"], run(*arguments).out.strip()):
        claims = await verify_token(token, issuer="https://issuer.test", audience="relay")
        assert claims.subject == "jane"
        assert claims.scopes == {"events:read", "replay:write"}


def test_token_options_override_the_settings(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test")
    options = ("--issuer", "other", "--audience", "another", "--json")
    claims = json.loads(run("token", "--scope", "events:read", *options).out)["claims"]
    assert (claims["iss"], claims["aud"]) == ("other", "another")


def test_token_without_a_secret_says_how_to_generate_one(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    done = run("token", "--scope", "events:read")
    assert done.code == 2
    assert "relay secret --kind jwt" in done.err


def test_token_for_an_unknown_scope_names_the_known_ones(run: RunCommand) -> None:
    done = run("token", "--scope", "everything")
    assert done.code == 2
    assert all(scope in done.err for scope in Scope)


@pytest.mark.parametrize("hours", ["24.1", "25", "720", "87600"])
def test_token_for_more_than_a_day_needs_force(run: RunCommand, hours: str) -> None:
    arguments = ("token", "--scope", "events:read", "--hours", hours, "--json")
    rejected = run(*arguments)
    assert (rejected.code, rejected.out) == (2, "")
    assert f"--hours {hours} is too long" in rejected.err
    assert "give at most 24, or add --force" in rejected.err
    claims = json.loads(run(*arguments, "--force").out)["claims"]
    assert abs(claims["exp"] - time.time() - float(hours) * 3600) < 30


def test_token_for_a_day_needs_no_force(run: RunCommand) -> None:
    assert run("token", "--scope", "events:read", "--hours", "24").code == 0


def test_token_for_a_webhook_names_its_id_and_body(run: RunCommand) -> None:
    Path("event.json").write_bytes(b"{}")
    arguments = ("token", "--scope", "webhooks:write", "--webhook-id", "evt_1")
    claims = json.loads(run(*arguments, "--body", "event.json", "--json").out)["claims"]
    assert claims["webhook_id"] == "evt_1"
    assert claims["request_body_sha256"] == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize("option", ["--webhook-id", "--body"])
def test_token_for_a_webhook_without_its_scope_is_a_usage_error(
    run: RunCommand, option: str
) -> None:
    Path("event.json").write_bytes(b"{}")
    done = run("token", "--scope", "events:read", option, "event.json")
    assert done.code == 2
    assert "go with --scope webhooks:write" in done.err


def test_secret_of_each_kind_prints_environment_variables_only(run: RunCommand) -> None:
    for kind, names in (
        ("hmac", ["WEBHOOK_SECRETS"]),
        ("ed25519", ["WEBHOOK_SECRETS", "private_key"]),
        ("jwt", ["JWT_SECRET"]),
    ):
        done = run("secret", "--kind", kind)
        lines = dict(line.split("=", 1) for line in done.out.splitlines())
        assert list(lines) == names
        assert done.err
        assert list(json.loads(run("secret", "--kind", kind, "--json").out)) == names


def test_secret_of_ed25519_is_a_pair_that_signs(run: RunCommand) -> None:
    pair = json.loads(run("secret", "--kind", "ed25519", "--json").out)
    assert pair["WEBHOOK_SECRETS"].startswith("whpk_")
    entry = sign(pair["private_key"], webhook_id="evt_1", timestamp=1, body=b"{}")
    assert entry.startswith("v1a,")
