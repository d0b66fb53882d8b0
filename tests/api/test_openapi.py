"""The OpenAPI document is valid, complete and on disk, and describes the relay's responses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.routing import BaseRoute, Route, compile_path

from app.api.problems import MEDIA_TYPE, PROBLEMS
from app.api.replay_bodies import ReplayBody
from app.api.request_body import parse_body
from app.api.routes import create_api
from app.domain.errors import InputInvalid
from tests.api.relay_harness import USER, RunningRelay, full_disk, make_body

FILE = Path(__file__).parents[2] / "openapi/openapi.json"
GOLDEN = Path(__file__).parents[1] / "golden/events"
VALID = sorted(path for path in GOLDEN.glob("*.json") if path.name != "invalid.json")

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

OPEN = (
    *("/health", "/health/live", "/health/ready", "/metrics"),
    *("/", "/openapi.json", "/docs", "/docs/problems"),
)

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_api().openapi()


def find_operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield method.upper(), path, operation


def find_routes(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        # FastAPI keeps the routers that an application includes whole.
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from find_routes(included.routes)
            continue
        assert isinstance(route, Route), f"{route} is not looked at by this test"
        _, path, _ = compile_path(route.path)
        for method in (route.methods or set()) - {"HEAD"}:
            yield method, path


def check(document: dict[str, Any], schema: dict[str, Any], instance: object) -> None:
    """Hold a JSON document to a schema of the OpenAPI document."""
    OAS31Validator({**schema, "components": document["components"]}).validate(instance)


def check_answer(document: dict[str, Any], response: httpx.Response, path: str) -> None:
    """Hold an answer to what the document says of it."""
    operation = document["paths"][path][response.request.method.lower()]
    assert str(int(response.status_code)) in operation["responses"]
    content = operation["responses"][str(int(response.status_code))]["content"]
    assert response.headers["content-type"] in content
    check(document, content[response.headers["content-type"]]["schema"], response.json())


def test_document_on_disk_is_the_apps(document: dict[str, Any]) -> None:
    stale = "run `relay openapi -o openapi/openapi.json`"
    assert FILE.exists(), stale
    assert json.loads(FILE.read_text()) == document, stale


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_document_has_every_route_and_no_other(document: dict[str, Any]) -> None:
    documented = {(method, path) for method, path, _ in find_operations(document)}
    assert documented == set(find_routes(create_api().router.routes))


def test_document_has_an_id_a_summary_and_a_tag_for_every_operation(
    document: dict[str, Any],
) -> None:
    operations = [operation for _, _, operation in find_operations(document)]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in document["tags"]}
    for operation in operations:
        assert operation["summary"]
        assert set(operation["tags"]) <= tags


def test_document_has_only_problems_that_the_table_has(document: dict[str, Any]) -> None:
    known = {str(int(status)) for status, _ in PROBLEMS.values()}
    for method, path, operation in find_operations(document):
        for status, response in operation["responses"].items():
            if MEDIA_TYPE in response.get("content", {}):
                assert status in known, f"{method} {path}"
            else:
                assert status[0] == "2" or path.startswith("/health"), f"{method} {path} {status}"


def test_document_names_the_code_of_every_problem(document: dict[str, Any]) -> None:
    descriptions = " ".join(
        response["description"]
        for _, _, operation in find_operations(document)
        for response in operation["responses"].values()
    )
    missing = {code for _, code in PROBLEMS.values() if f"`{code}`" not in descriptions}
    assert not missing


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_document_describes_every_event(document: dict[str, Any], path: Path) -> None:
    body = json.loads(path.read_text())["body"]
    check(document, {"$ref": "#/components/schemas/Event"}, body)
    check(document, {"$ref": "#/components/schemas/Batch"}, {"events": [{"id": "e", **body}]})


def test_document_gives_examples_that_fit_their_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for example in schema.get("examples", []):
            check(document, {"$ref": f"#/components/schemas/{name}"}, example)
            # Whatever a reader meets of it is in the schema: nothing is made up.
            if "properties" in schema:
                assert example.keys() <= schema["properties"].keys(), name


def test_document_has_examples_of_every_request_and_response(
    document: dict[str, Any],
) -> None:
    for method, path, operation in find_operations(document):
        if path in OPEN:
            continue
        contents = [response["content"] for response in operation["responses"].values()]
        if "requestBody" in operation:
            contents.append(operation["requestBody"]["content"])
        for content in contents:
            for media in content.values():
                name = media["schema"]["$ref"].rpartition("/")[2]
                assert document["components"]["schemas"][name]["examples"], f"{method} {path}"


async def test_document_gives_examples_that_are_accepted(
    document: dict[str, Any], relay: RunningRelay
) -> None:
    schemas = document["components"]["schemas"]
    for n, example in enumerate(schemas["Event"]["examples"]):
        assert (await relay.send(example, f"evt_{n}")).status_code == 202
    for example in schemas["Batch"]["examples"]:
        response = await relay.send(example, "batch_1", path="/webhooks/batch")
        assert {each["status"] for each in response.json()["results"]} == {"accepted"}
    for example in schemas["ReplayBody"]["examples"]:
        assert (await relay.replay(example)).status_code in (200, 202)


async def test_document_describes_responses_to_webhooks(
    document: dict[str, Any], relay: RunningRelay
) -> None:
    body = make_body("trip.created")
    with full_disk():
        responses = [await relay.send(body)]
    responses += [
        await relay.send(body),
        await relay.send(body),
        await relay.send(make_body("trip.created", name="Porto")),
        await relay.send(body, headers={"prefer": "wait=10"}),
        await relay.send({}),
        await relay.send(b" " * 65_537),
        await relay.send(body, headers={"content-type": "text/plain"}),
        await relay.post("/webhooks", b"{}"),
    ]
    assert [response.status_code for response in responses] == [
        503, 202, 200, 409, 200, 422, 413, 415, 401,
    ]  # fmt: skip
    for response in responses:
        check_answer(document, response, "/webhooks")


async def test_document_describes_responses_to_batches(
    document: dict[str, Any], relay: RunningRelay
) -> None:
    item = {"id": "evt_1", **make_body("trip.created")}
    responses = [
        await relay.send_batch(item, {"id": "evt_1", **make_body("user.created")}, None),
        await relay.send_batch(item),
        await relay.send_batch(),
    ]
    assert [response.status_code for response in responses] == [202, 200, 422]
    for response in responses:
        check_answer(document, response, "/webhooks/batch")


async def test_document_describes_responses_to_operators(
    document: dict[str, Any], relay: RunningRelay
) -> None:
    await relay.send_and_wait(make_body("trip.created"))
    looked_up = [await relay.look_up("evt_1"), await relay.look_up("evt_2")]
    looked_up.append(await relay.http.get("/events/evt_1"))
    assert [response.status_code for response in looked_up] == [200, 404, 401]
    for response in looked_up:
        check_answer(document, response, "/events/{event_id}")
    replayed = [
        await relay.replay({"all": True}),
        await relay.replay({"all": True, "dry_run": True}),
        await relay.replay({}),
        await relay.post("/replay", b"{}"),
        await relay.post("/replay", b"{}", relay.bear("events:read")),
    ]
    assert [response.status_code for response in replayed] == [202, 200, 422, 401, 403]
    for response in replayed:
        check_answer(document, response, "/replay")
    may_replay, may_read = relay.bear("replay:write"), relay.bear("events:read")
    listed = [
        (await relay.http.get("/events", headers=may_read), "/events"),
        (await relay.http.get("/events?limit=0", headers=may_read), "/events"),
        (await relay.http.get("/events", headers=may_replay), "/events"),
        (await relay.http.get("/replay", headers=may_replay), "/replay"),
        (await relay.http.get("/replay?cursor=x", headers=may_replay), "/replay"),
        (await relay.http.get("/replay"), "/replay"),
    ]
    assert [response.status_code for response, _ in listed] == [200, 422, 403, 200, 422, 401]
    replay_id = replayed[0].json()["replay_id"]
    for name in (replay_id, "nowhere"):
        response = await relay.http.get(f"/replay/{name}", headers=may_replay)
        listed.append((response, "/replay/{replay_id}"))
    await relay.send_and_wait(make_body("membership.deleted"), "evt_removed")
    for query in ("since=2026-01-01T00:00:00Z", ""):
        response = await relay.http.get(f"/revocations?{query}", headers=may_read)
        listed.append((response, "/revocations"))
    for response, path in listed:
        check_answer(document, response, path)


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_document_describes_responses_to_monitoring(
    document: dict[str, Any], relay: RunningRelay, path: str
) -> None:
    check_answer(document, await relay.http.get(path), path)
    relay.query("ALTER TABLE entities RENAME TO hidden")
    check_answer(document, await relay.http.get(path), path)


def test_document_describes_replays_by_the_form_that_is_read(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["ReplayBody"]
    assert schema["additionalProperties"] is False
    form = {"$ref": "#/components/schemas/ReplayBody"}
    taken: list[dict[str, Any]] = [
        {"all": True},
        {"all": True, "status": None},
        {"all": False, "status": "dead"},
        {"event_ids": ["evt_1"], "dry_run": True},
        {"since": "2026-01-02T03:04:05Z", "types": ["trip.*"]},
        {"entity": {"kind": "user", "key": USER}},
    ]
    refused: list[dict[str, Any]] = [
        {},
        {"all": False},
        {"dry_run": True},
        {"status": None, "event_ids": None},
        {"all": True, "status": "dead"},
        {"types": ["trip.renamed"]},
        {"entity": {"kind": "user"}},
        {"more": 1, "all": True},
    ]
    for body in taken:
        check(document, form, body)
        parse_body(ReplayBody, json.dumps(body).encode())
    for body in refused:
        assert not OAS31Validator({**form, "components": document["components"]}).is_valid(body)
        with pytest.raises(InputInvalid):
            parse_body(ReplayBody, json.dumps(body).encode())
    reference = document["paths"]["/replay"]["post"]["requestBody"]["content"]["application/json"]
    assert reference["schema"] == {"$ref": "#/components/schemas/ReplayBody"}


def test_document_describes_authentication(document: dict[str, Any]) -> None:
    schemes = set(document["components"]["securitySchemes"])
    for method, path, operation in find_operations(document):
        named = {name for entry in operation.get("security", []) for name in entry}
        assert named <= schemes
        assert bool(named) != (path in OPEN), f"{method} {path}"
