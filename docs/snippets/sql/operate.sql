-- region: watch
select count(*) filter (where parked_at is null)         as waiting,
       count(*) filter (where priority = 0)              as revocations,
       now() - min(occurred_at) filter (where parked_at is null) as oldest,
       count(parked_at)                                  as parked
from relay_outbox;
-- endregion

-- region: unpark
update relay_outbox set parked_at = null, parked_reason = null where parked_at is not null;
-- endregion
