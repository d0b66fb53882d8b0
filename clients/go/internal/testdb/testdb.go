// Package testdb creates databases for the module's tests.
package testdb

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Create returns the URL of an empty database. It skips the test if TEST_DATABASE_URL, the URL of a
// PostgreSQL's superuser, is not set.
func Create(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Skip("TEST_DATABASE_URL is not set: it names a PostgreSQL, such as postgres://postgres@127.0.0.1/postgres")
	}
	name := "supabase_sync_" + strings.ToLower(rand.Text())
	execute(t, server, "create database "+name)
	t.Cleanup(func() { execute(t, server, "drop database "+name+" with (force)") })
	made, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	made.Path = "/" + name
	query := made.Query()
	if !query.Has("sslmode") {
		query.Set("sslmode", "disable") // lib/pq needs to be told
	}
	made.RawQuery = query.Encode()
	return made.String()
}

func execute(t testing.TB, url, statement string) {
	t.Helper()
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(ctx)
	if _, err := connection.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
