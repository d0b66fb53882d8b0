package supabasesync

import (
	"context"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"
)

// row is a claimed row of the outbox.
type row struct {
	id         int64
	revocation bool
	event      Event
}

// rejection is why a row is parked.
type rejection struct {
	ID     int64  `json:"id"`
	Reason string `json:"reason"`
}

const isUnclaimed = `(claimed_until is null or claimed_until <= clock_timestamp())`

// claim takes rows for a time, revocations first. At least a fifth is for other events, so that no
// flood of revocations stops them. Rows that another process claims at this moment are skipped.
//
// The priorities are compared by < and >: without statistics, as after a burst, PostgreSQL expects so
// many rows then that it reads the index in order, and with = so few that it reads and sorts them all.
func (o *Outbox) claim(ctx context.Context, limit int, duration time.Duration) ([]row, error) {
	var rows []row
	err := o.db.Query(ctx, `
		with revocations as (
		  select id from relay_outbox where priority < 1 and `+isUnclaimed+`
		  order by priority, id limit $1::bigint for update skip locked
		), rest as (
		  select id from relay_outbox where priority > 0 and `+isUnclaimed+`
		  order by priority, id limit $2::bigint - (select count(*) from revocations) for update skip locked
		)
		update relay_outbox as claimed
		set claimed_until = clock_timestamp() + make_interval(secs => $3::float8)
		from (select id from revocations union all select id from rest) as due
		where claimed.id = due.id
		returning claimed.id, priority = 0, event_id, type, occurred_at, data::text`,
		[]any{int64(limit - limit/5), int64(limit), duration.Seconds()},
		func(scan Scan) error {
			var each row
			var data string
			err := scan(&each.id, &each.revocation,
				&each.event.ID, &each.event.Type, &each.event.Timestamp, &data)
			each.event.Data = json.RawMessage(data)
			rows = append(rows, each)
			return err
		})
	sort.Slice(rows, func(i, j int) bool {
		if rows[i].revocation != rows[j].revocation {
			return rows[i].revocation
		}
		return rows[i].id < rows[j].id
	})
	return rows, wrap("claiming events", err)
}

// claimEvent takes the row of one event, if it is there and unclaimed. It also reads the status of
// the transaction that recorded the event: committed, aborted or in progress.
func (o *Outbox) claimEvent(
	ctx context.Context, event Event, duration time.Duration,
) (id int64, transaction string, err error) {
	err = o.queryRow(ctx, `
		with claimed as (
		  update relay_outbox set claimed_until = clock_timestamp() + make_interval(secs => $2::float8)
		  where event_id = $1::text and parked_at is null and `+isUnclaimed+`
		  returning id
		)
		select coalesce((select id from claimed), 0), coalesce(pg_xact_status($3::text::xid8), '')`,
		[]any{event.ID, duration.Seconds(), strconv.FormatUint(event.transaction, 10)}, &id, &transaction)
	return id, transaction, wrap("claiming event "+event.ID, err)
}

// remove deletes the rows of events that the relay has.
func (o *Outbox) remove(ctx context.Context, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	return wrap("removing sent events", o.db.Exec(ctx, `
		delete from relay_outbox where id = any (string_to_array($1::text, ',')::bigint[])`, joinIDs(rows)))
}

// release returns rows that were not sent.
func (o *Outbox) release(ctx context.Context, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	return wrap("releasing events", o.db.Exec(ctx, `
		update relay_outbox set claimed_until = null
		where id = any (string_to_array($1::text, ',')::bigint[])`, joinIDs(rows)))
}

// park sets rows aside that the relay would refuse again.
func (o *Outbox) park(ctx context.Context, rejections []rejection) error {
	if len(rejections) == 0 {
		return nil
	}
	encoded, err := json.Marshal(rejections)
	if err != nil {
		return err
	}
	return wrap("parking events", o.db.Exec(ctx, `
		update relay_outbox as parked
		set parked_at = clock_timestamp(), parked_reason = refused.reason, claimed_until = null
		from jsonb_to_recordset($1::text::jsonb) as refused (id bigint, reason text)
		where parked.id = refused.id`, string(encoded)))
}

func joinIDs(rows []row) string {
	ids := make([]string, len(rows))
	for i, each := range rows {
		ids[i] = strconv.FormatInt(each.id, 10)
	}
	return strings.Join(ids, ",")
}
