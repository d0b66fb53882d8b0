"""`.env.example` and the settings are one list."""

import re
from pathlib import Path

from dotenv import dotenv_values

from app.settings import Settings
from tests.docs.pages import PAGES, read_blocks

FILE = Path(__file__).resolve().parents[1] / ".env.example"
TEXT = FILE.read_text()
SHOWN = dict(re.findall(r"^(?:# )?([A-Z]+(?:_[A-Z]+)*)=(.*)$", TEXT, re.MULTILINE))
# Where the default is not what an empty line would say.
REQUIRED = {"SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "WEBHOOK_SECRETS"}


def test_env_example_names_every_setting_and_no_other() -> None:
    assert set(SHOWN) == {name.upper() for name in Settings.model_fields} | {"SUPABASE_SECRET_KEY"}


def test_env_example_shows_the_default_of_every_setting_that_has_one() -> None:
    for name, field in Settings.model_fields.items():
        if name.upper() in REQUIRED:
            continue
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        if isinstance(default, float) and default.is_integer():
            default = int(default)
        assert SHOWN[name.upper()] == ("" if default is None else str(default)), name


def test_env_example_explains_every_setting_above_it() -> None:
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(?:# )?[A-Z]+(?:_[A-Z]+)*=", line):
            above = lines[number - 1]
            assert above.startswith("# "), line


def test_env_example_leaves_only_what_is_required_to_fill_in() -> None:
    uncommented = set(re.findall(r"^([A-Z_]+)=", TEXT, re.MULTILINE))
    assert uncommented == REQUIRED - {"SUPABASE_SERVICE_ROLE_KEY"}


def test_env_example_and_the_blocks_of_the_pages_work_as_an_env_file_of_a_container(
    tmp_path: Path,
) -> None:
    every_line = re.sub(r"^# (?=[A-Z]+(?:_[A-Z]+)*=)", "", TEXT, flags=re.MULTILINE)
    blocks = [block.code for block in read_blocks(*PAGES) if block.language == "ini"]
    assert blocks
    for text in (every_line, *blocks):
        file = tmp_path / ".env"
        file.write_text(text)
        # As Docker reads it: a line is a comment or NAME=VALUE, and the value is as it stands.
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        as_docker = dict(line.split("=", 1) for line in lines)
        assert as_docker == dict(dotenv_values(file))
