-- Where things run.

-- name: choose_host
SELECT h.name
FROM host h
CROSS JOIN LATERAL (
    SELECT coalesce(sum(m.cores), 0) AS cores, coalesce(sum(m.memory_mib), 0) AS memory_mib
    FROM machine m WHERE m.host = h.name AND m.admitted
) used
CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(m.root_size_bytes), 0) FROM machine m WHERE m.host = h.name)
         + (SELECT coalesce(sum(d.size_bytes), 0) FROM disk d WHERE d.host = h.name) AS bytes
) disks
WHERE h.heartbeat_at > now() - interval '60 seconds'
  AND (%(host)s::text IS NULL OR h.name = %(host)s)
  AND used.cores + %(cores)s <= h.cores
  AND used.memory_mib + %(memory_mib)s <= h.memory_mib
  AND (%(disk_bytes)s::bigint = 0 OR disks.bytes + %(disk_bytes)s <= h.disk_bytes)
ORDER BY h.memory_mib - used.memory_mib DESC, h.name
LIMIT 1

-- name: waiting_machines
-- The host that its networks and disks tie a machine to comes last in the row.
SELECT m.id, m.cores, m.memory_mib, coalesce(m.root_size_bytes, 0), m.host, coalesce(
    (SELECT min(n.host) FROM interface i JOIN network n ON n.id = i.network_id WHERE i.machine_id = m.id),
    (SELECT min(d.host) FROM attachment a JOIN disk d ON d.id = a.disk_id WHERE a.machine_id = m.id)
)
FROM machine m
WHERE NOT m.admitted AND m.wanted = 'active' AND NOT m.deleting
ORDER BY m.sequence

-- name: admit_machine
UPDATE machine
SET host = %(host)s, admitted = true, generation = generation + 1, state_message = 'starting'
WHERE id = %(id)s

-- name: homeless_network
SELECT id, 0 FROM network WHERE host IS NULL AND NOT shared AND NOT deleting ORDER BY sequence

-- name: settle_network
UPDATE network SET host = %(host)s WHERE id = %(id)s

-- name: homeless_disk
SELECT id, size_bytes FROM disk WHERE host IS NULL AND NOT deleting ORDER BY sequence

-- name: settle_disk
UPDATE disk SET host = %(host)s, state_message = '' WHERE id = %(id)s
