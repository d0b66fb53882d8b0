"""Invalid settings in sentences, each of which names the environment variable, never its value."""

from collections.abc import Mapping
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_MISSING: Final = {
    "supabase_url": "SUPABASE_URL is not set; copy the project URL from the Supabase dashboard",
    "supabase_service_role_key": "SUPABASE_SECRET_KEY is not set, and neither is"
    " SUPABASE_SERVICE_ROLE_KEY; copy the key from the Supabase dashboard, Settings, API keys",
}


def describe_problem(problem: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    """Write one problem as a sentence that names the environment variable."""
    name = str(problem["loc"][0])
    match problem["type"]:
        case "missing":
            return _MISSING[name]
        case "value_error":
            rule = str(problem["ctx"]["error"])
        case "enum" | "literal_error":
            rule = "must be " + problem["ctx"]["expected"].replace("'", "")
        case "too_short":
            rule = "must contain at least one name"
        case _:
            rule = _describe_number(fields[name])
    return f"{name.upper()} {rule}"


def _describe_number(field: FieldInfo) -> str:
    noun = "a whole number" if field.annotation is int else "a number"
    words = {"gt": "more than", "ge": "at least", "le": "at most"}
    limits = [
        f"{words[name]} {getattr(constraint, name)}"
        for constraint in field.metadata
        for name in words
        if hasattr(constraint, name)
    ]
    return f"must be {noun}, {' and '.join(limits)}"
