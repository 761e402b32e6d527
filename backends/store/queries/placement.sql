-- Where things run.

-- name: choose_host
-- What is taken of a host is counted by triggers of the tables that take it.
SELECT name
FROM host
WHERE heartbeat_at > now() - interval '60 seconds'
  AND (%(host)s::text IS NULL OR name = %(host)s)
  AND pool = %(pool)s
  AND cores_taken + %(cores)s <= cores
  AND memory_taken_mib + %(memory_mib)s <= memory_mib
  AND (%(disk_bytes)s::bigint = 0 OR NOT is_full AND disk_taken_bytes + %(disk_bytes)s <= disk_bytes)
  AND offers(host, %(networks)s)
ORDER BY memory_mib - memory_taken_mib DESC, name
LIMIT 1

-- name: most_free
-- Each of these by itself, perhaps of different hosts; NULL where no host is alive.
SELECT max(cores - cores_taken), max(memory_mib - memory_taken_mib), max(CASE WHEN is_full THEN 0 ELSE disk_bytes - disk_taken_bytes END)
FROM host
WHERE heartbeat_at > now() - interval '60 seconds' AND (%(host)s::text IS NULL OR name = %(host)s) AND pool = %(pool)s

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
-- After its sizes come its host, the host that its networks and disks tie it to, and its networks. A machine that somebody changes just now
-- is left to them: they may be waiting for the lock that is held here.
SELECT m.id, m.cores, m.memory_mib, coalesce(m.root_size_bytes, 0), m.host, coalesce(
    (SELECT min(n.host) FROM interface i JOIN network n ON n.id = i.network_id JOIN host h ON h.name = n.host
     WHERE i.machine_id = m.id AND h.tunnel_address IS NULL AND n.vlan IS NULL),
    (SELECT min(d.host) FROM attachment a JOIN disk d ON d.id = a.disk_id WHERE a.machine_id = m.id AND d.pool = 'file')
), ARRAY(SELECT i.network_id FROM interface i WHERE i.machine_id = m.id)
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
UPDATE disk SET host = %(host)s, state_message = '' WHERE id = %(id)s
