package relaypgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// Listen makes the Listen of a [supabasesync.RunnerConfig]. It opens one connection to url, which must
// be direct: a pooler in transaction mode, such as Neon's "-pooler" host, loses notifications.
func Listen(url string) func(ctx context.Context, wake func()) error {
	return func(ctx context.Context, wake func()) error {
		connection, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer connection.Close(context.WithoutCancel(ctx))
		if _, err := connection.Exec(ctx, "listen "+supabasesync.Channel); err != nil {
			return err
		}
		for {
			wake() // first for the events from before
			if _, err := connection.WaitForNotification(ctx); err != nil {
				return err
			}
		}
	}
}
