# The commands of docs/quickstart.md, in order. tests/docs/test_quickstart.py runs them.

# region: install
ONCE=1 make demo
export PATH="$PWD/.venv/bin:$PATH"
# endregion

# region: schema
relay sql --all > supabase.sql
psql -v ON_ERROR_STOP=1 -1 -f supabase.sql "$SUPABASE_DB_URL"
# endregion

# region: settings
echo "SUPABASE_URL=$SUPABASE_URL" > .env
echo "SUPABASE_SECRET_KEY=$SUPABASE_SECRET_KEY" >> .env
relay secret >> .env
relay secret --kind jwt >> .env
chmod 600 .env
# endregion

# region: validate
relay doctor
# endregion

# region: serve
relay serve
# endregion

# region: send
USER_ID=$(python3 -c 'import uuid; print(uuid.uuid4())')
relay send user.created id=$USER_ID email=ana@example.com username=ana --wait 5
# endregion

# region: look
curl -sS "$SUPABASE_URL/rest/v1/users?id=eq.$USER_ID" -H "apikey: $SUPABASE_SECRET_KEY"
relay events
curl -sS http://127.0.0.1:8080/health
# endregion

# region: remove
relay send user.deleted id=$USER_ID --wait 5
# endregion
