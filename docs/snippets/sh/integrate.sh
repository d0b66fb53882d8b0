# The commands of docs/guides/integrate.md.

# region: install
go mod edit -require=github.com/nomadcrew/supabase-sync@v0.0.0 \
  -replace=github.com/nomadcrew/supabase-sync="$RELAY_CHECKOUT/clients/go"
go mod tidy
# endregion
