"""`python -m docs.generate` (`make docs`): bring the pages up to date with the code.

A part between `<!-- generated: NAME -->` and `<!-- end -->` is written from the code. A fenced
block after `<!-- snippet: PATH#REGION -->` shows a region of a file in docs/snippets, or of one
whose path begins with clients/. Everything else is written by hand. tests/docs/test_pages.py fails
when a page is stale.
"""

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_args

from prometheus_client.registry import Collector
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_group

from app.api.problem_guide import list_problem_guides
from app.cli.relay import COMMANDS, import_command
from app.cli.relay import app as relay_command
from app.domain.cause_guide import list_cause_guides
from app.relay.measurements import Measurements
from app.server.connection_metrics import ConnectionMetrics
from app.server.connections import Connections
from app.server.limits import Limits
from app.settings import Settings

CHECKOUT: Final = Path(__file__).parents[1]
DOCS: Final = CHECKOUT / "docs"
SNIPPETS: Final = DOCS / "snippets"
PAGES: Final = (
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    CHECKOUT / "benchmarks" / "README.md",
    CHECKOUT / "clients" / "go" / "README.md",
    *sorted(DOCS.rglob("*.md")),
)
_PART: Final = re.compile(
    r"(?P<start><!-- generated: (?P<name>\S+) -->\n)(?P<text>.*?)(?P<end><!-- end -->)", re.DOTALL
)


_BLOCK: Final = re.compile(
    r"(?P<start><!-- snippet: (?P<source>\S+) -->\n```\w+\n)(?P<code>.*?)(?P<end>^```$)",
    re.MULTILINE | re.DOTALL,
)


def render(page: str) -> str:
    """Return a page with every generated part and every snippet up to date."""

    def write_part(part: re.Match[str]) -> str:
        return f"{part['start']}\n{PARTS[part['name']]()}\n\n{part['end']}"

    def write_block(block: re.Match[str]) -> str:
        return f"{block['start']}{read_region(block['source'])}{block['end']}"

    return _BLOCK.sub(write_block, _PART.sub(write_part, page))


def read_region(source: str) -> str:
    """Return a region of a snippet file: `path#name` is the text between its two comments."""
    path, _, name = source.partition("#")
    folder = CHECKOUT if path.startswith("clients/") else SNIPPETS
    lines = (folder / path).read_text().splitlines()
    words = [line.strip(" /#-") for line in lines]
    start = words.index(f"region: {name}") + 1
    end = words.index("endregion", start)
    return textwrap.dedent("\n".join(lines[start:end])).strip("\n") + "\n"


def write_settings() -> str:
    """List every setting: name, type, default, bounds and description."""
    rows = []
    for name, field in Settings.model_fields.items():
        names = [f"`{each.upper()}`" for each in _alias_names(name, field)]
        default = "required" if field.default is PydanticUndefined else _show(field.default)
        rows.append((" or ".join(names), _setting_values(field), default, field.description or ""))
    rows.sort(key=lambda row: row[2] != "required")
    return _table(("Setting", "Values", "Default", "Description"), rows)


def _alias_names(name: str, field: FieldInfo) -> Sequence[str]:
    alias = field.validation_alias
    return [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else [name]


def _setting_values(field: FieldInfo) -> str:
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{each}`" for each in annotation)
    if choices := [each for each in get_args(annotation) if isinstance(each, str)]:
        return ", ".join(f"`{each}`" for each in choices)
    bounds = {
        symbol: getattr(each, name)
        for each in field.metadata
        for name, symbol in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if hasattr(each, name)
    }
    if annotation in (int, float):
        kind = "integer" if annotation is int else "number"
        return ", ".join((kind, *(f"{symbol} {bound:,}" for symbol, bound in bounds.items())))
    text = str(annotation)
    if "tuple" in text:
        return "list, separated by commas"
    return "JSON object" if "Target" in text else "text"


def _show(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def write_commands() -> str:
    """Describe each subcommand as its --help does."""
    context = get_group(relay_command).make_context("relay", [], resilient_parsing=True)
    sections = []
    for name in COMMANDS:
        command = import_command(name)
        child = command.make_context(name, [], parent=context, resilient_parsing=True)
        usage = re.sub(r"\s+", " ", command.get_usage(child).removeprefix("Usage: "))
        rows = [
            (_option_names(each), _option_values(each, child), each.help or "")
            for each in command.get_params(child)
            if not getattr(each, "hidden", False) and each.name != "help"
        ]
        sections += [f"## relay {name}", f"`{usage}`", _paragraphs(command.help or "")]
        sections.append(_table(("Argument or option", "Values", "Description"), rows))
    return "\n\n".join(sections)


def _option_names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    if not parameter.is_flag and not getattr(parameter.type, "choices", None):
        names[0] += f" {parameter.metavar or parameter.type.name.upper()}"
    return ", ".join(f"`{each}`" for each in names)


def _option_values(parameter: Any, context: Any) -> str:
    if getattr(parameter, "is_flag", False):
        parts = []
    else:
        kind = parameter.type
        choices = [f"`{getattr(each, 'value', each)}`" for each in getattr(kind, "choices", ())]
        bounds = (
            (symbol, getattr(kind, name, None)) for symbol, name in (("≥", "min"), ("≤", "max"))
        )
        parts = [", ".join(choices or (f"{symbol} {each:g}" for symbol, each in bounds if each))]
        default = parameter.get_default(context)
        if default not in (None, (), [], False) and parameter.param_type_name == "option":
            parts.append(f"default {_show(default)}")
    names = parameter.envvar or ()
    parts.append(
        " or ".join(f"`{each}`" for each in ([names] if isinstance(names, str) else names))
    )
    return "; ".join(part for part in parts if part)


def _paragraphs(text: str) -> str:
    prose, _, examples = text.partition("\b\nExamples:\n")
    paragraphs = [_escape(_line(each)) for each in prose.strip().split("\n\n")]
    return "\n\n".join((*paragraphs, f"```text\n{textwrap.dedent(examples)}\n```"))


def write_metrics() -> str:
    """List every metric of the relay's own: name, type, labels and help."""
    registry = Measurements().registry
    registry.register(ConnectionMetrics(Connections(Limits())))
    rows = []
    for collector in list(registry._collector_to_names):
        for metric in collector.collect():
            if not metric.name.startswith("relay_"):
                continue  # Those of the process depend on the system.
            suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
            kind = "gauge" if metric.type == "info" else metric.type
            labels = ", ".join(f"`{each}`" for each in _labels(collector, metric))
            rows.append((f"`{metric.name}{suffix}`", kind, labels, metric.documentation))
    return _table(("Metric", "Type", "Labels", "Help"), sorted(rows))


def _labels(collector: Collector, metric: Any) -> Iterable[str]:
    # A metric without samples yet knows its labels, and no public method tells them.
    declared = getattr(collector, "_labelnames", None)
    names = dict.fromkeys(name for each in metric.samples for name in each.labels)
    return declared or [name for name in names if name != "le"]  # that of a histogram's buckets


def write_events() -> str:
    """List the fields of each event type's data."""
    rows = []
    mapping = _schemas()["Event"]["discriminator"]["mapping"]
    by_fields: dict[str, list[str]] = {}
    for event_type, reference in mapping.items():
        data = _resolve(_resolve({"$ref": reference})["properties"]["data"])
        fields = ", ".join(f"`{name}`" for name in data["properties"])
        by_fields.setdefault(fields, []).append(f"`{event_type}`")
    rows = [(", ".join(types), fields) for fields, types in by_fields.items()]
    return _table(("Type", "Fields of `data`"), rows)


def write_endpoints() -> str:
    """List every operation of the OpenAPI document."""
    rows = []
    for path, item in _document()["paths"].items():
        for method, operation in item.items():
            statuses = ", ".join(sorted(operation["responses"]))
            rows.append((f"`{method.upper()} {path}`", operation["summary"], statuses))
    return _table(("Operation", "Purpose", "Statuses"), rows)


def write_problems() -> str:
    """List every problem code with its status, meaning and remedy."""
    rows = [
        (
            each.status,
            f"`{each.code}`",
            each.meaning,
            "yes" if each.is_temporary else "no",
            each.remedy,
        )
        for each in list_problem_guides()
    ]
    return _table(("Status", "`code`", "Meaning", "Send again unchanged", "What to do"), rows)


def write_health() -> str:
    """List the fields of /health."""
    rows = []
    for name, schema in _fields(_schemas()["HealthBody"]):
        kind = schema.get("type") or " or ".join(each["type"] for each in schema.get("anyOf", ()))
        if "enum" in schema:
            kind = ", ".join(f"`{each}`" for each in schema["enum"])
        rows.append((f"`{name}`", kind, "" if "$ref" in schema else schema.get("description", "")))
    return _table(("Field", "Values", "Description"), rows)


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, dict[str, Any]]]:
    for name, given in schema["properties"].items():
        resolved = _resolve(given)
        if "properties" in resolved:
            yield from _fields(resolved, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", resolved


def write_functions() -> str:
    """List the functions of the migrations that a policy or a client calls, with their comments."""
    rows = []
    for path in sorted((CHECKOUT / "supabase" / "migrations").glob("*.sql")):
        for comment, name, given, result in re.findall(
            r"((?:^-- .*\n)*)^create (?:or replace )?function ((?:public|trip_access)\.\w+)"
            r"\(([^)]*)\)\s+returns ((?:setof )?\w+)",
            path.read_text(),
            re.MULTILINE,
        ):
            if name.startswith("trip_access.") and (result == "trigger" or "send_" in name):
                continue
            meaning = " ".join(line[3:] for line in comment.splitlines() if line[3] != " ")
            arguments = " ".join(given.split())
            file = f"[`…{path.name[14:]}`](../../supabase/migrations/{path.name})"
            rows.append((f"`{name.removeprefix('public.')}({arguments})`", result, meaning, file))
    return _table(("Function", "Returns", "What it does", "Migration"), rows)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CHECKOUT / "openapi" / "openapi.json").read_text())
    return document


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = _document()["components"]["schemas"]
    return schemas


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return {**_schemas()[reference.rpartition("/")[2]], **schema}


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cell(text: str) -> str:
    return _escape(_line(text)).replace("|", "\\|")


def _escape(text: str) -> str:
    """Escape what Markdown would read as a tag, outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def write_causes() -> str:
    """List why Supabase rejects rows for good."""
    rows = [(guide.title, guide.cause, guide.fix) for guide in list_cause_guides()]
    return _table(("Code", "Cause", "Fix"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": write_settings,
    "commands": write_commands,
    "metrics": write_metrics,
    "events": write_events,
    "endpoints": write_endpoints,
    "problems": write_problems,
    "health": write_health,
    "functions": write_functions,
    "causes": write_causes,
}


def main() -> None:
    """Rewrite every page."""
    for path in PAGES:
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    main()
