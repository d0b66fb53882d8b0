# The checks of docs/guides/integrate.md. tests/docs/test_checks.py runs them.

# region: checks
# 1: what a user reads of a trip's chat
curl -sS "$SUPABASE_URL/rest/v1/chat_messages?trip_id=eq.$TRIP" -H "apikey: $KEY" -H "Authorization: Bearer $USER_TOKEN"
# 2: the status of a user's attempt to write a membership
curl -sS -o /dev/null -w '%{http_code}\n' "$SUPABASE_URL/rest/v1/trip_memberships" -H "apikey: $KEY" \
  -H "Authorization: Bearer $USER_TOKEN" -H 'content-type: application/json' -d '{"role": "OWNER"}'
# 3: the relay's health
curl -sS "$RELAY_URL/health"
# 4: the columns of a user
curl -sS "$SUPABASE_URL/rest/v1/users?limit=1" -H "apikey: $SUPABASE_SECRET_KEY"
# endregion
