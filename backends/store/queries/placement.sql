-- Where things run.

-- name: choose_host
-- What is taken of a host is counted by triggers of the tables that take it.
SELECT name, NULL
FROM host
WHERE heartbeat_at > now() - interval '60 seconds'
  AND (%(host)s::text IS NULL OR name = %(host)s)
  AND pool = %(pool)s
  AND (%(shared_pool)s::uuid IS NULL OR shared_pool = %(shared_pool)s)
  AND cores_taken + %(cores)s <= cores
  AND memory_taken_mib + %(memory_mib)s <= memory_mib
  AND (%(disk_bytes)s::bigint = 0 OR NOT is_full AND disk_taken_bytes + %(disk_bytes)s <= disk_bytes)
  AND offers(host, %(networks)s)
ORDER BY memory_mib - memory_taken_mib DESC, name
LIMIT 1

-- name: most_free_host
-- Each of these by itself, perhaps of different hosts; NULL where no host is alive.
SELECT max(cores - cores_taken), max(memory_mib - memory_taken_mib), max(CASE WHEN is_full THEN 0 ELSE disk_bytes - disk_taken_bytes END)
FROM host
WHERE heartbeat_at > now() - interval '60 seconds' AND (%(host)s::text IS NULL OR name = %(host)s) AND pool = %(pool)s
  AND (%(shared_pool)s::uuid IS NULL OR shared_pool = %(shared_pool)s)

-- name: choose_shared_pool
-- With the host that is to work on the disk.
SELECT h.name, p.id
FROM host h JOIN shared_pool p ON p.id = h.shared_pool
WHERE h.heartbeat_at > now() - interval '60 seconds'
  AND (%(host)s::text IS NULL OR h.name = %(host)s)
  AND (%(shared_pool)s::uuid IS NULL OR p.id = %(shared_pool)s)
  AND NOT p.is_full AND p.disk_taken_bytes + %(disk_bytes)s <= p.disk_bytes
ORDER BY p.disk_bytes - p.disk_taken_bytes DESC, p.id, h.memory_mib - h.memory_taken_mib DESC, h.name
LIMIT 1

-- name: most_free_shared_pool
SELECT 0, 0, max(CASE WHEN p.is_full THEN 0 ELSE p.disk_bytes - p.disk_taken_bytes END)
FROM host h JOIN shared_pool p ON p.id = h.shared_pool
WHERE h.heartbeat_at > now() - interval '60 seconds' AND (%(host)s::text IS NULL OR h.name = %(host)s)
  AND (%(shared_pool)s::uuid IS NULL OR p.id = %(shared_pool)s)

-- name: tied
SELECT tied_host(%(id)s), tied_pool(%(id)s)

-- name: not_offered
-- Those of the networks that no host has, or not the one that is named.
SELECT coalesce(n.class, 'VLAN ' || n.vlan)
FROM network n
WHERE n.id = ANY(%(networks)s) AND NOT EXISTS (
    SELECT FROM host h
    WHERE (%(host)s::text IS NULL OR h.name = %(host)s) AND h.pool = 'file' AND offers(h, ARRAY[n.id])
)
ORDER BY 1

-- name: waiting_machines
-- After its sizes come its host, what its networks and disks tie it to, and its networks. A machine that somebody
-- changes just now is left to them: they may be waiting for the lock that is held here.
SELECT m.id, m.cores, m.memory_mib, coalesce(m.root_size_bytes, 0), m.host, tied_host(m.id), tied_pool(m.id),
    ARRAY(SELECT i.network_id FROM interface i WHERE i.machine_id = m.id)
FROM machine m
WHERE NOT m.admitted AND m.wanted = 'active' AND NOT m.deleting
ORDER BY m.sequence
FOR UPDATE OF m SKIP LOCKED

-- name: admit_machine
UPDATE machine
SET host = %(host)s, admitted = true, generation = generation + 1, state_message = 'starting'
WHERE id = %(id)s

-- name: homeless_networks
SELECT id FROM network WHERE host IS NULL AND NOT shared AND NOT deleting ORDER BY sequence

-- name: settle_network
UPDATE network SET host = %(host)s WHERE id = %(id)s

-- name: homeless_disks
SELECT id, size_bytes, pool FROM disk WHERE host IS NULL AND NOT deleting ORDER BY sequence

-- name: settle_disk
UPDATE disk SET host = %(host)s, shared_pool = %(shared_pool)s, state_message = '' WHERE id = %(id)s
