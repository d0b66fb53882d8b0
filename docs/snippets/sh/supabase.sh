# The commands of docs/guides/supabase.md. tests/docs/test_supabase_commands.py runs each region.

# region: apply-all
relay sql --all | psql -v ON_ERROR_STOP=1 -1 "$SUPABASE_DB_URL"
# endregion

# region: apply
relay sql | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"
# endregion

# region: apply-tables
relay sql --tables tables.toml | psql -v ON_ERROR_STOP=1 -1 "$SUPABASE_DB_URL"
# endregion

# region: doctor
relay doctor --publishable-key "$SUPABASE_PUBLISHABLE_KEY" --db-url "$SUPABASE_DB_URL"
# endregion

# region: access
relay access --user 7c9e6679-7425-40de-944b-e07fc1f90ae7 --trip 0f8fad5b-d9cb-469f-a165-70867728950e
# endregion
