"""Every page shows snippets that exist, links to existing targets, and names existing things."""

import difflib
import re
from pathlib import Path
from typing import Final

import pytest
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_variables

from app.cli.relay import COMMANDS, import_command
from app.settings import Settings
from docs.generate import render
from tests.docs.pages import (
    CHECKOUT,
    DOCS,
    PAGES,
    SNIPPETS,
    read_anchors,
    read_blocks,
    read_links,
    read_prose,
)

# Languages of which every block is a snippet: code that a test runs.
RUN_LANGUAGES: Final = {"go", "python", "sql", "ts", "yaml", "nginx", "caddy"}
# Variables of callers, of the shell and of SQL, and statuses of supabase-js; everything else in
# capitals is a setting.
OTHER_VARIABLES: Final = {
    "BACKEND_DB_URL",
    "CHANNEL_ERROR",
    "CURRENT_TIMESTAMP",
    "INITIAL_SESSION",
    "NEW_STORE_URL",
    "POSTGRES_PASSWORD",
    "POSTGRES_SOURCE",
    "REQUIRE_GO",
    "RELAY_FAILPOINT",
    "RELAY_TOKEN",
    "RELAY_URL",
    "RELAY_WEBHOOK_SECRET",
    "SUPABASE_DB_URL",
    "TEST_DATABASE_URL",
    "TIMED_OUT",
    "USER_TOKEN",
}
OF_OPENTELEMETRY: Final = {*dir(environment_variables), *dir(sdk_variables)}
# Folders whose files documents name; a brace or a star stands for several files.
PATH: Final = re.compile(
    r"`((?:app|tests|docs|benchmarks|supabase|openapi|deploy|clients|\.ci)/[^`\s]*|\w+/[^`\s]*\.py)`"
)


def name_page(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_page)


@every_page
def test_generated_part_and_snippet_are_up_to_date(page: Path) -> None:
    shown = page.read_text()
    difference = difflib.unified_diff(shown.splitlines(), render(shown).splitlines(), lineterm="")
    assert "\n".join(difference) == "", "run `make docs`"


@every_page
def test_code_block_in_a_language_that_runs_is_a_snippet(page: Path) -> None:
    for language, source, code in read_blocks(page):
        assert source or language not in RUN_LANGUAGES, f"no snippet is named before:\n{code}"


@every_page
def test_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for path, anchor in read_links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in read_anchors(target), f"{path}#{anchor}"


@every_page
def test_path_in_code_exists(page: Path) -> None:
    for path in PATH.findall(read_prose(page)):
        for each in expand_braces(path):
            found = list(CHECKOUT.glob(each.strip("/"))) or list(CHECKOUT.glob(f"app/{each}"))
            assert found, each


def expand_braces(path: str) -> list[str]:
    match = re.search(r"\{([^}]*)\}", path)
    if match is None:
        return [path]
    return [path.replace(match[0], each) for each in match[1].split(",")]


@every_page
def test_setting_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", read_prose(page)))
    settings = {name.upper() for name in Settings.model_fields} | {"SUPABASE_SECRET_KEY"}
    assert named - settings - OTHER_VARIABLES - OF_OPENTELEMETRY - find_option_variables() == set()


def find_option_variables() -> set[str]:
    variables: set[str] = set()
    for name in COMMANDS:
        for option in import_command(name).params:
            given = option.envvar or ()
            variables |= {given} if isinstance(given, str) else set(given)
    return variables


@every_page
def test_relay_command_that_is_named_exists(page: Path) -> None:
    shell = "\n".join(code for language, _, code in read_blocks(page) if language == "sh")
    code = shell + "\n".join(re.findall(r"`[^`\n]+`", read_prose(page)))
    # Not "the relay runs", as in a comment or a message.
    named = set(re.findall(r"(?<![\w/.:-])(?<!the )(?<!another )relay ([a-z]+)(?= |`|\n)", code))
    known = set(COMMANDS)
    assert named <= known


@every_page
def test_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"[`\n]make ([a-z-]+)", page.read_text())) <= targets


def test_every_snippet_is_shown_on_a_page_or_linked() -> None:
    shown = {source for _, source, _ in read_blocks(*PAGES) if source}
    linked = {(page.parent / path).resolve() for page in PAGES for path, _ in read_links(page)}
    for file in sorted(SNIPPETS.rglob("*")):
        if not file.is_file() or linked & {file, *file.parents}:
            continue
        regions = re.findall(r"region: (\S+)$", file.read_text(), re.MULTILINE)
        path = file.relative_to(SNIPPETS)
        assert {f"{path}#{region}" for region in regions} <= shown
        assert regions, path


def test_every_shell_command_of_the_documents_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for language, source, code in read_blocks(*sorted(DOCS.rglob("*.md"))):
        if language == "sh":
            assert source is not None, f"no snippet is named before:\n{code}"
            region = source.partition("#")[2]
            assert re.search(rf'["#]{region}"', tests), f"no test runs {source}"


def test_index_of_decisions_links_every_record() -> None:
    index = DOCS / "decisions" / "README.md"
    linked = {path for path, _ in read_links(index) if path.startswith("0")}
    assert linked == {path.name for path in index.parent.glob("0*.md")}


def test_page_that_code_names_exists() -> None:
    for folder in ("app", "benchmarks", "supabase", "tests"):
        for file in (CHECKOUT / folder).rglob("*.*"):
            if file.suffix in (".py", ".sql"):
                for path in re.findall(r"docs/[\w/-]+\.md", file.read_text()):
                    assert (CHECKOUT / path).exists(), f"{file}: {path}"


def test_picture_of_the_demo_has_the_words_of_the_demo() -> None:
    (picture,) = [
        code for language, _, code in read_blocks(CHECKOUT / "README.md") if language == "console"
    ]
    demo = (CHECKOUT / "app" / "cli" / "commands" / "demo.py").read_text()
    title, header = picture.splitlines()[3], picture.splitlines()[5]
    assert [
        word for word in (title, *re.findall(r"[a-z][a-z ]+[a-z]", header)) if word not in demo
    ] == []
