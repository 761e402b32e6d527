-- What a storage host's agent reads and writes.

-- name: disk
-- A grant whose attachment is going stays until the compute host has let go of the disk.
SELECT d.id, d.size_bytes, d.wanted, d.generation, d.observed_generation, d.deleting,
    d.read_only OR d.snapshot_of IS NOT NULL, d.source_disk_id,
    EXISTS (SELECT FROM disk c WHERE c.source_disk_id = d.id AND NOT c.deleting),
    (SELECT json_build_array(l.host, l.initiator, l.secret) FROM disk_lease l WHERE l.disk_id = d.id),
    (SELECT json_agg(json_build_array(g.id, g.initiator, g.secret)) FROM disk_grant g WHERE g.disk_id = d.id)
FROM disk d
WHERE d.id = %(id)s AND d.host = %(host)s AND d.pool = 'iscsi'

-- name: disks
SELECT d.id, d.size_bytes, d.wanted, d.generation, d.observed_generation, d.deleting,
    d.read_only OR d.snapshot_of IS NOT NULL, d.source_disk_id,
    EXISTS (SELECT FROM disk c WHERE c.source_disk_id = d.id AND NOT c.deleting),
    (SELECT json_build_array(l.host, l.initiator, l.secret) FROM disk_lease l WHERE l.disk_id = d.id),
    (SELECT json_agg(json_build_array(g.id, g.initiator, g.secret)) FROM disk_grant g WHERE g.disk_id = d.id)
FROM disk d
WHERE d.host = %(host)s AND d.pool = 'iscsi'

-- name: disk_served
-- Gives the machines that have it attached, and their hosts, if there is news for them: a grant or a size.
WITH before AS (
    SELECT observed_generation FROM disk WHERE id = %(id)s
), told AS (
    UPDATE disk SET state = %(state)s, state_message = %(message)s, target_identifier = %(target)s,
        logical_unit_name = %(unit)s, observed_generation = greatest(observed_generation, %(generation)s)
    WHERE id = %(id)s
), granted AS (
    UPDATE disk_grant SET served = true WHERE id = ANY(%(grants)s::uuid[]) AND NOT served RETURNING attachment_id
)
SELECT m.id, m.host
FROM attachment a JOIN machine m ON m.id = a.machine_id
WHERE a.disk_id = %(id)s AND m.host IS NOT NULL
  AND (a.id IN (SELECT attachment_id FROM granted) OR (SELECT observed_generation FROM before) < %(generation)s)

-- name: disk_withdrawn
-- For a while: whoever isn't logged in yet waits until it is served again.
UPDATE disk_grant SET served = false WHERE disk_id = %(id)s

-- name: end_lost_lease
-- Of a host that is gone, and has nothing left to write; it has let go of the disk when its target has.
DELETE FROM disk_lease l USING disk d, host h
WHERE d.id = %(id)s AND l.disk_id = d.id AND h.name = l.host AND h.heartbeat_at < now() - interval '60 seconds'
  AND d.observed_generation > 0 AND NOT EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.kept)

-- name: disk_lent
-- By now it may be another lease, which the target doesn't know.
WITH lent AS (
    UPDATE disk_lease SET served = true WHERE disk_id = %(id)s AND initiator = %(initiator)s
)
UPDATE disk SET state_message = coalesce(%(message)s, state_message), target_identifier = %(target)s,
    logical_unit_name = %(unit)s
WHERE id = %(id)s

-- name: disk_failed
UPDATE disk SET state = 'error', state_message = %(message)s WHERE id = %(id)s

-- name: sweep
SELECT d.id, NOT d.deleting AND d.state IN (d.wanted, 'degraded') AND d.generation = d.observed_generation
    AND NOT EXISTS (SELECT FROM disk_grant g WHERE g.disk_id = d.id AND NOT g.served)
    AND NOT EXISTS (SELECT FROM disk_lease l WHERE l.disk_id = d.id)
FROM disk d
WHERE d.host = %(host)s AND d.pool = 'iscsi'

-- name: pool_seen
WITH told AS (
    UPDATE disk SET state = CASE WHEN %(is_full)s THEN 'degraded' ELSE wanted END, state_message = %(message)s
    WHERE host = %(host)s AND pool = 'iscsi' AND NOT deleting AND wanted = 'online'
      AND state = CASE WHEN %(is_full)s THEN 'online' ELSE 'degraded' END
)
UPDATE host SET is_full = %(is_full)s WHERE name = %(host)s AND is_full <> %(is_full)s

-- name: register_host
INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal)
VALUES (%(name)s, 0, 0, %(disk_bytes)s, 'none', 'iscsi', %(portal)s)
ON CONFLICT (name) DO UPDATE
SET cores = 0, memory_mib = 0, disk_bytes = excluded.disk_bytes, domain_type = excluded.domain_type,
    pool = excluded.pool, portal = excluded.portal, started_at = now(), heartbeat_at = now()

-- name: forget_dead_jobs
DELETE FROM procrastinate_jobs WHERE queue_name = %(host)s AND status = 'doing'
