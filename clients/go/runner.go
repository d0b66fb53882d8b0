package supabasesync

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// RunnerConfig configures a [Runner]. The zero value is usable.
type RunnerConfig struct {
	// Listen waits for notifications of new events and calls wake for each, until ctx ends or its
	// connection breaks. relaypgx.Listen makes it. nil: the runner polls only.
	Listen func(ctx context.Context, wake func()) error
	// PollInterval is how often the runner looks for events; 0 means 2 seconds.
	PollInterval time.Duration
	// BatchSize is the largest number of events in a request, up to 1,000; 0 means 500.
	BatchSize int
	// StopTimeout is how long a request in flight may continue when Run's ctx ends; 0 means 5 seconds.
	StopTimeout time.Duration
	// OnBatch receives the outcome of each batch, for metrics.
	OnBatch func(Batch)
	// OnParked receives each event that the relay refused: an operator has to look.
	OnParked func(Parked)
	// Logger receives failures and parked events; nil uses [slog.Default].
	Logger *slog.Logger
}

// Batch counts the events of one batch by their outcome.
type Batch struct {
	Revocations int // of the claimed events
	Sent        int // received by the relay, and removed from the outbox
	Parked      int
	Unsent      int // to be sent again
	Duration    time.Duration
	Err         error // why events are unsent
}

// Parked is an event that stays in the outbox until an operator acts.
type Parked struct {
	EventID string
	Type    Type
	Reason  string
}

const (
	claimDuration  = 25 * time.Second // longer than batchTimeout and settleTimeout together
	batchTimeout   = 15 * time.Second // with all of its retries
	settleTimeout  = 5 * time.Second
	longestBackoff = 10 * time.Second // revocations are sent so soon after an outage
	longestRefusal = 5 * time.Minute  // bounds a Retry-After
)

// Runner sends the outbox to the relay. Run one in every process of the backend.
type Runner struct {
	outbox *Outbox
	client *Client
	config RunnerConfig
	wake   chan struct{}
}

// NewRunner creates a runner; Run starts it.
func NewRunner(outbox *Outbox, client *Client, config RunnerConfig) *Runner {
	if config.PollInterval <= 0 {
		config.PollInterval = 2 * time.Second
	}
	if config.BatchSize <= 0 {
		config.BatchSize = 500
	}
	config.BatchSize = min(config.BatchSize, maximumBatchEvents)
	if config.StopTimeout <= 0 {
		config.StopTimeout = 5 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.OnBatch == nil {
		config.OnBatch = func(Batch) {}
	}
	if config.OnParked == nil {
		config.OnParked = func(Parked) {}
	}
	return &Runner{outbox: outbox, client: client, config: config, wake: make(chan struct{}, 1)}
}

// Wake makes the runner look for events now. It never blocks. Call it after a commit where neither
// notifications nor the delay of a poll will do.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run sends events until ctx ends. It then finishes the request in flight, and returns.
func (r *Runner) Run(ctx context.Context) {
	if r.config.Listen != nil {
		listening := make(chan struct{})
		go func() { defer close(listening); r.listen(ctx) }()
		defer func() { <-listening }()
	}
	backoff := firstBackoff
	for ctx.Err() == nil {
		count, err := r.Flush(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			wait := jitter(backoff)
			var unavailable *Unavailable
			if errors.As(err, &unavailable) {
				wait = max(wait, min(unavailable.RetryAfter, longestRefusal))
			}
			r.config.Logger.WarnContext(ctx, "events stay in the outbox", "retry_in", wait, "error", err)
			pause(ctx, wait, nil)
			backoff = min(2*backoff, longestBackoff)
		case count > 0: // there may be more
			backoff = firstBackoff
		default:
			backoff = firstBackoff
			pause(ctx, r.config.PollInterval, r.wake)
		}
	}
}

// pause waits until it is woken or ctx ends, and no longer than limit.
func pause(ctx context.Context, limit time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// listen keeps a listener; without one, the runner polls.
func (r *Runner) listen(ctx context.Context) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		started := time.Now()
		err := r.config.Listen(ctx, r.Wake)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > longestBackoff {
			backoff = firstBackoff
		}
		r.config.Logger.WarnContext(ctx, "no notifications of new events; polling",
			"interval", r.config.PollInterval, "error", err)
		pause(ctx, jitter(backoff), nil)
		backoff = min(2*backoff, longestBackoff)
	}
}
