# The commands of docs/guides/operate.md. tests/docs/test_operate.py runs each region.

# region: operator
export RELAY_URL=https://relay.example.com
export RELAY_TOKEN=$(relay token --scope events:read --scope replay:write --subject "$USER" --hours 8)
# endregion

# region: status
relay status                               # exit code 0: ok, 1: degraded, 2: down or unreachable
# endregion

# region: console
relay console                              # a link that opens the console once, within a minute
# endregion

# region: health
curl -sS "$RELAY_URL/health" | python3 -m json.tool
curl -sS "$RELAY_URL/metrics" | grep '^relay_'
# endregion

# region: waiting
relay events --status pending              # the newest pending events
relay events --status pending --type 'membership.*' --since 2h
relay events "$EVENT_ID"                   # one event: attempts, next attempt, last error
relay events --entity "$ENTITY"            # every event of one entity
# endregion

# region: dead
relay events --status dead                 # the events and their SQLSTATE
relay replay --status dead --dry-run       # after fixing the cause: how many
relay replay --status dead --error-code 23514  # re-syncs those of one cause, and waits
relay replay --status dead                 # the others, too
# endregion

# region: evict
relay evict --user "$USER_ID" --trip "$TRIP_ID"  # from one trip
relay evict --user "$USER_ID"              # from every trip
# endregion

# region: exposure
relay exposure --since 2h                  # who still had access, for how long, and who still has it
relay exposure --since "$FROM" --until "$TO" --json > exposure.json
relay exposure --since "$FROM" --trip "$TRIP_ID"
# endregion

# region: everything
relay replay --all --dry-run
relay replay --all
relay replay --list
# endregion

# region: supabase
curl -sS -o /dev/null -w '%{http_code}\n' "$SUPABASE_URL/rest/v1/users?limit=1" -H "apikey: $SUPABASE_SECRET_KEY"
# endregion

# region: store
df -h . && ls -lh relay.db*                # the store and its write-ahead log (-wal)
sqlite3 -readonly relay.db 'PRAGMA quick_check'
# endregion

# region: shrink
sqlite3 relay.db 'VACUUM'                  # with the relay stopped; needs as much free disk again
# endregion

# region: replicas
psql "$STORE_URL" -c "select holder, token, to_timestamp(expires_at / 1e6) as expires_at, clock_timestamp() as now from lease"
# endregion

# region: signature
date -u                                    # on both machines: at most 300 s apart
relay send signature.check --secret "$BACKEND_SECRET"  # an error about the event: the secret is correct
# endregion

# region: hmac
relay secret                               # WEBHOOK_SECRETS=whsec_…
# endregion

# region: ed25519
relay secret --kind ed25519                # whpk_… for the relay, whsk_… for the backend only
# endregion

# region: drift
relay reconcile                            # Supabase compared with the desired state
relay reconcile --repair                   # compares, asks, repairs, and compares again
# endregion

# region: drift-source
relay reconcile --source-db-url "$BACKEND_DB_URL"
relay reconcile --source-db-url "$BACKEND_DB_URL" --repair
# endregion

# region: snapshot
umask 077                                  # the file holds personal data
psql "$BACKEND_DB_URL" -XqAt -v ON_ERROR_STOP=1 -f docs/snippets/sql/snapshot.sql > snapshot.ndjson
relay reconcile --source-file snapshot.ndjson --output differences.ndjson
# endregion

# region: backup
umask 077                                  # these files hold personal data
sqlite3 relay.db ".backup 'backup.db'"     # while the relay runs
sqlite3 relay.db "VACUUM INTO 'compact.db'" # smaller and slower
sqlite3 -readonly backup.db 'PRAGMA integrity_check'
# endregion

# region: look-into-backup
STORE_URL=sqlite:///backup.db SUPABASE_URL=http://127.0.0.1:9 relay serve --port 8099
# endregion

# region: backup-postgresql
umask 077                                  # these files hold personal data
pg_dump --format=custom --file=relay.dump "$STORE_URL"
# endregion

# region: upgrade
STORE_URL=sqlite:///upgrade.db relay migrate  # on a copy, to measure how long it takes
# endregion

# region: log
LOG_FORMAT=json relay serve 2> relay.log
# endregion

# region: traces
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 relay serve
# endregion

# region: erased
sqlite3 -readonly relay.db "select count(*) from events where kind = 'user' and key = '$USER_ID' and data like '%email%'"
# endregion

# region: erase-postgresql
psql "$STORE_URL" -c 'vacuum (full, verbose) events, entities'
# endregion

# region: move
relay migrate --from sqlite:///relay.db --to "$NEW_STORE_URL"
# endregion
