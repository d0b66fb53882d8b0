// Package supabasesync keeps the permission data in Supabase in step with a backend's database.
//
// The backend records an event in the transaction of each change to a user, a trip or a membership,
// with [relaypgx] or [relaysql]. A [Runner] sends the events to the relay, which applies them to
// Supabase. A [Client] sends single events without an outbox.
//
// This package imports the standard library only.
//
// [relaypgx]: https://pkg.go.dev/github.com/nomadcrew/supabase-sync/relaypgx
// [relaysql]: https://pkg.go.dev/github.com/nomadcrew/supabase-sync/relaysql
package supabasesync
