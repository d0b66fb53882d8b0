// Command example is a backend in Gin and pgx with every call site of supabase-sync.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example/db"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if os.Getenv("CREATE_TABLES") != "" {
		if _, err := pool.Exec(ctx, db.Schema); err != nil {
			return err
		}
	}
	runner, err := newRunner(ctx, pool)
	if err != nil {
		return err
	}
	finished := make(chan struct{})
	go func() { defer close(finished); runner.Run(ctx) }()
	defer func() { <-finished }() // the request in flight

	server := &http.Server{
		Handler:           newRouter(&Service{db: pool, queries: db.New(pool), runner: runner}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	listener, err := net.Listen("tcp", os.Getenv("ADDRESS"))
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", listener.Addr())
	context.AfterFunc(ctx, func() {
		stopping, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(stopping)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// region: wiring

// newRunner creates the outbox and the runner that sends it.
func newRunner(ctx context.Context, pool *pgxpool.Pool) (*supabasesync.Runner, error) {
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: os.Getenv("RELAY_URL"), Secret: os.Getenv("RELAY_WEBHOOK_SECRET"),
	})
	if err != nil {
		return nil, err
	}
	outbox := relaypgx.NewOutbox(pool)
	if err := outbox.Migrate(ctx); err != nil {
		return nil, err
	}
	config := supabasesync.RunnerConfig{}
	if url := os.Getenv("DIRECT_DATABASE_URL"); url != "" { // not a pooler's; without it, the runner polls
		config.Listen = relaypgx.Listen(url)
	}
	return supabasesync.NewRunner(outbox, client, config), nil
}

// endregion
