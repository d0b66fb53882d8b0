package relaypgx_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const tables = `
create type membership_role as enum ('OWNER', 'MEMBER', 'ADMIN');
create type membership_status as enum ('ACTIVE', 'INACTIVE');
create table users (id uuid primary key, email text not null, username text not null, bio text,
  deleted_at timestamptz);
create table trips (id uuid primary key, name varchar(255) not null, updated_at timestamptz,
  created_by uuid references users (id) on delete set null, deleted_at timestamptz);
create table trip_memberships (trip_id uuid not null references trips (id) on delete cascade,
  user_id uuid not null references users (id) on delete cascade,
  role membership_role not null, status membership_status not null, deleted_at timestamptz,
  unique (trip_id, user_id));`

// openTables creates the tables with their triggers, and with two users, a trip and its members.
func openTables(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := openPool(t)
	execute(t, pool, tables+readFile(t, "../sql/relay_triggers.sql"))
	for _, statement := range []string{
		`insert into users values ('` + ana + `', 'ana@example.com', 'ana'), ('` + bo + `', 'bo@example.com', 'bo')`,
		`insert into trips (id, name, created_by) values ('` + trip + `', 'Lisbon', '` + ana + `')`,
		`insert into trip_memberships values ('` + trip + `', '` + ana + `', 'OWNER', 'ACTIVE'),
		   ('` + trip + `', '` + bo + `', 'MEMBER', 'ACTIVE')`,
	} {
		execute(t, pool, statement)
	}
	return pool
}

var (
	anaRow  = supabasesync.UserData{ID: ana, Email: "ana@example.com", Username: "ana"}
	boRow   = supabasesync.UserData{ID: bo, Email: "bo@example.com", Username: "bo"}
	tripRow = supabasesync.TripData{ID: trip, Name: "Lisbon", CreatedBy: ana}
	owner   = supabasesync.MembershipData{TripID: trip, UserID: ana, Role: "OWNER", Status: "ACTIVE"}
	member  = supabasesync.MembershipData{TripID: trip, UserID: bo, Role: "MEMBER", Status: "ACTIVE"}
	leaving = supabasesync.DeletedMembership{TripID: trip, UserID: bo}
)

func TestTriggers_Inserts_RecordWholeRows(t *testing.T) {
	pool := openTables(t)
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(pool), anaRow, boRow, tripRow, owner, member)
	if got := read(t, pool, `select string_agg(type, ' ' order by id) from relay_outbox`); strings.Contains(got, "updated") {
		t.Error(got)
	}
}

func TestTriggers_Changes_RecordWhatPermissionsNeed(t *testing.T) {
	const ofBo = ` where user_id = '` + bo + `'`
	renamed, admin, inactive, moved := tripRow, member, member, boRow
	renamed.Name, admin.Role, inactive.Status, moved.ID = "Porto", "ADMIN", "INACTIVE", "323e4567-e89b-12d3-a456-426614174000"
	orphan := tripRow
	orphan.CreatedBy = ""
	pool := openTables(t)
	execute(t, pool, `delete from relay_outbox`)
	for statement, want := range map[string][]supabasesync.Data{
		`update users set bio = 'likes trains'`:                          {},
		`update trips set updated_at = now()`:                            {},
		`update trips set name = 'Porto'`:                                {renamed},
		`update trip_memberships set role = 'ADMIN'` + ofBo:              {admin},
		`update trip_memberships set status = 'INACTIVE'` + ofBo:         {inactive},
		`update trip_memberships set deleted_at = now()` + ofBo:          {leaving},
		`delete from trip_memberships` + ofBo:                            {leaving},
		`delete from trip_memberships where user_id = gen_random_uuid()`: {},
		`update trips set deleted_at = now()`:                            {supabasesync.DeletedTrip{ID: trip}},
		`delete from trips`:                                              {supabasesync.DeletedTrip{ID: trip}},
		`delete from users where username = 'ana'`:                       {supabasesync.DeletedUser{ID: ana}, orphan},
		`update users set deleted_at = now() where username = 'bo'`:      {supabasesync.DeletedUser{ID: bo}},
		`truncate trip_memberships`:                                      {supabasesync.DeletedMembership{TripID: trip, UserID: ana}, leaving},
		`truncate users cascade`:                                         {supabasesync.DeletedUser{ID: ana}, supabasesync.DeletedUser{ID: bo}, supabasesync.DeletedTrip{ID: trip}, supabasesync.DeletedMembership{TripID: trip, UserID: ana}, leaving},
		`delete from trip_memberships` + ofBo + `; update users set id = '` + moved.ID + `' where username = 'bo'`: {
			leaving, supabasesync.DeletedUser{ID: bo}, moved},
		`update trips set deleted_at = now(); update trip_memberships set role = 'ADMIN', deleted_at = now()` + ofBo: {
			supabasesync.DeletedTrip{ID: trip}},
		`update trips set deleted_at = now(); update trips set deleted_at = null`: {
			supabasesync.DeletedTrip{ID: trip}, tripRow, owner, member},
		`insert into trip_memberships values ('` + trip + `', '` + bo + `', 'ADMIN', 'ACTIVE')
		   on conflict (trip_id, user_id) do update set role = excluded.role`: {admin},
	} {
		t.Run(statement, func(t *testing.T) {
			tx := begin(t, pool)
			defer tx.Rollback(ctx)
			if _, err := tx.Exec(ctx, statement); err != nil {
				t.Fatal(err)
			}
			relaytest.RequireRecorded(t, relaypgx.NewOutbox(tx), want...)
		})
	}
}

func TestTriggers_RoleWithoutTheOutbox_StillRecords(t *testing.T) {
	pool := openTables(t)
	role := read(t, pool, `select 'writer_' || md5(random()::text)`)
	execute(t, pool, `create role `+role+`; grant insert, update, delete, select on trips, users, trip_memberships to `+role)
	t.Cleanup(func() { execute(t, pool, `drop owned by `+role+`; drop role `+role) })
	execute(t, pool, `delete from relay_outbox`)
	execute(t, pool, `set role `+role+`; delete from trip_memberships where user_id = '`+bo+`'; reset role`)
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(pool), leaving)
}

func TestLastRecorded_RemovalByATrigger_CanBeWaitedFor(t *testing.T) {
	pool, relay := openTables(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	removal := inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		if _, err := relaypgx.LastRecorded(ctx, tx); err == nil {
			t.Error("nothing was recorded, and there was no error")
		}
		if _, err := tx.Exec(ctx, `delete from trip_memberships where user_id = $1`, bo); err != nil {
			return supabasesync.Event{}, err
		}
		return relaypgx.LastRecorded(ctx, tx)
	})
	if status := wait(t, runner, removal); status != supabasesync.Applied || relay.Requests()[0].Events[0].ID != removal.ID {
		t.Fatal(status)
	}
}

func TestTriggers_Down_RemovesThem(t *testing.T) {
	pool := openTables(t)
	execute(t, pool, readFile(t, "../sql/relay_triggers_down.sql"))
	execute(t, pool, `delete from relay_outbox; delete from trips`)
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(pool))
}
