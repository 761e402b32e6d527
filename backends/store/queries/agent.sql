-- What agents read and write.

-- name: machine
SELECT m.id, m.title, m.hostname, m.architecture, m.cores, m.memory_mib, m.share, m.root_size_bytes, m.image_id,
    m.root_image_id, m.ssh_key, m.user_data, m.wanted, m.stop_method, m.suspend_method, m.restart_method,
    m.boots_wanted, m.boots_done, m.asked_to_stop_at, m.host, m.admitted, m.generation, m.observed_generation,
    m.state, m.deleting, m.max_cores, m.power_pressed_at,
    (SELECT json_agg(json_build_array(i.id, i.network_id, i.mac, host(i.address), i.state, i.deleting,
        json_build_array(n.id, n.cidr, n.gateway, n.cidr6, n.masquerade6, n.class, n.wanted = 'active', n.vlan, n.sequence),
        host(i.plugged_address), host(i.address6), host(i.plugged_address6),
        i.ingress_kbit_s, i.egress_kbit_s) ORDER BY i.sequence)
     FROM interface i JOIN network n ON n.id = i.network_id WHERE i.machine_id = m.id),
    (SELECT json_agg(json_build_array(a.id, a.disk_id, a.device, a.state, a.deleting,
        a.read_only, d.pool, d.size_bytes, d.host, h.portal, d.target_identifier, g.initiator, g.secret, g.served,
        d.shared_pool, d.observed_generation > 0 AND d.source_disk_id IS NULL
            AND NOT EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.kept))
        ORDER BY a.device)
     FROM attachment a JOIN disk d ON d.id = a.disk_id LEFT JOIN host h ON h.name = d.host
     LEFT JOIN disk_grant g ON g.attachment_id = a.id WHERE a.machine_id = m.id)
FROM machine m
WHERE m.id = %(id)s

-- name: machine_observed
-- Links that are held by the guest, or may have changed since they were read, are another job's to settle.
WITH present AS (
    SELECT id FROM machine WHERE id = %(id)s AND generation = %(generation)s
), links AS (
    UPDATE interface SET state = %(link_state)s, state_message = '',
        plugged_address = CASE WHEN %(link_state)s = 'active' THEN address END,
        plugged_address6 = CASE WHEN %(link_state)s = 'active' THEN address6 END
    WHERE machine_id IN (SELECT id FROM present) AND NOT deleting AND state <> %(link_state)s
      AND id <> ALL(%(held)s::uuid[])
), disks AS (
    UPDATE attachment SET state = %(link_state)s, state_message = ''
    WHERE machine_id IN (SELECT id FROM present) AND NOT deleting AND state <> %(link_state)s
      AND id <> ALL(%(held)s::uuid[])
)
-- A message stays for as long as nothing new happened: looking again is not news.
UPDATE machine
SET state = %(state)s, console = %(console)s, console_password = %(console_password)s,
    state_message = CASE WHEN %(message)s = '' AND state = %(state)s AND observed_generation = %(generation)s
        THEN state_message ELSE %(message)s END,
    observed_generation = greatest(observed_generation, %(generation)s),
    admitted = admitted AND (wanted <> 'inactive' OR %(state)s <> 'inactive')
WHERE id = %(id)s

-- name: machine_failed
UPDATE machine SET state = 'error', state_message = %(message)s WHERE id = %(id)s

-- name: machine_booted
UPDATE machine SET boots_done = greatest(boots_done, %(boots)s), asked_to_stop_at = NULL WHERE id = %(id)s

-- name: machine_started
UPDATE machine SET power_pressed_at = NULL WHERE id = %(id)s AND power_pressed_at IS NOT NULL

-- name: machine_asked_to_stop
UPDATE machine SET asked_to_stop_at = coalesce(asked_to_stop_at, now()), power_pressed_at = now(),
    state_message = %(message)s
WHERE id = %(id)s

-- name: guest_stopped
UPDATE machine SET wanted = 'inactive'
WHERE id = %(id)s AND generation = %(generation)s AND wanted = 'active'

-- name: guest_ignored_stop
UPDATE machine SET wanted = 'active', asked_to_stop_at = NULL
WHERE id = %(id)s AND generation = %(generation)s

-- name: root_made
UPDATE machine SET root_image_id = %(image_id)s WHERE id = %(id)s

-- name: forget_machine
WITH untagged AS (
    DELETE FROM tagging WHERE resource_id = %(id)s
        OR resource_id IN (SELECT id FROM interface WHERE machine_id = %(id)s)
        OR resource_id IN (SELECT id FROM attachment WHERE machine_id = %(id)s)
        OR resource_id IN (SELECT id FROM group_link WHERE machine_id = %(id)s)
), unsaved AS (
    UPDATE image SET state = 'error', state_message = 'the compute was deleted before it was saved'
    WHERE source_machine_id = %(id)s AND state = 'pending'
), unlinked AS (
    DELETE FROM interface WHERE machine_id = %(id)s
), detached AS (
    DELETE FROM attachment WHERE machine_id = %(id)s
)
SELECT 1

-- name: networks_left
SELECT n.id, n.host FROM interface i JOIN network n ON n.id = i.network_id
WHERE i.machine_id = %(id)s AND n.deleting AND n.host IS NOT NULL

-- name: disks_left
SELECT d.id, d.host FROM attachment a JOIN disk d ON d.id = a.disk_id
WHERE a.machine_id = %(id)s AND (d.deleting OR d.pool = 'iscsi') AND d.host IS NOT NULL

-- name: disk_of_attachment
SELECT d.id, d.host, d.pool FROM attachment a JOIN disk d ON d.id = a.disk_id WHERE a.id = %(id)s

-- name: link_waits
UPDATE attachment SET state_message = %(message)s WHERE id = %(id)s

-- name: machine_waits
UPDATE machine SET state_message = %(message)s WHERE id = %(id)s

-- name: images_to_save
SELECT id FROM image WHERE source_machine_id = %(id)s AND state = 'pending' AND NOT deleting

-- name: network
SELECT n.id, cidr, gateway, cidr6, masquerade6, class, wanted = 'active', vlan, sequence, generation, deleting,
    EXISTS (SELECT 1 FROM interface i WHERE i.network_id = n.id),
    is_at_home(n, h), EXISTS (SELECT 1 FROM interface i JOIN machine m ON m.id = i.machine_id
        WHERE i.network_id = n.id AND m.host = h.name)
FROM network n JOIN host h ON h.name = %(host)s
WHERE n.id = %(id)s

-- name: network_observed
UPDATE network SET state = %(state)s, state_message = %(message)s,
    observed_generation = greatest(observed_generation, %(generation)s)
WHERE id = %(id)s

-- name: disk
SELECT d.id, d.size_bytes, d.image_id, d.source_disk_id, d.wanted, d.generation, d.observed_generation, d.deleting,
    (SELECT a.machine_id FROM attachment a WHERE a.disk_id = d.id ORDER BY a.sequence LIMIT 1),
    EXISTS (SELECT FROM disk c WHERE c.source_disk_id = d.id AND NOT c.deleting), d.read_only,
    d.snapshot_of IS NOT NULL,
    d.open_until, EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.kept), d.shared_pool,
    d.next_host, (SELECT s.host FROM disk s WHERE s.id = d.source_disk_id AND s.shared_pool = d.shared_pool)
FROM disk d
WHERE d.id = %(id)s AND (d.pool = 'file' OR d.pool = 'shared' AND d.host = %(host)s)

-- name: disk_asked_for
-- By a host whose machine has it; the present one is told once.
UPDATE disk SET next_host = %(host)s
WHERE id = %(id)s AND pool = 'shared' AND host <> %(host)s AND next_host IS DISTINCT FROM %(host)s
RETURNING host

-- name: another_host_of_pool
SELECT name FROM host
WHERE shared_pool = %(shared_pool)s AND name <> %(host)s AND heartbeat_at > now() - interval '60 seconds'
ORDER BY name LIMIT 1

-- name: held_disk
-- From then on nobody attaches, writes or copies it.
SELECT FROM disk WHERE id = %(id)s AND host = %(host)s FOR UPDATE

-- name: disk_handed_over
-- Unless a machine of this host has it, or something is to be done with it here first.
UPDATE disk SET host = %(to)s, next_host = NULL, open_until = NULL
WHERE id = %(id)s AND host = %(host)s
  AND NOT EXISTS (SELECT FROM disk_write w WHERE w.disk_id = disk.id AND w.kept)
  AND NOT EXISTS (SELECT FROM disk c WHERE c.source_disk_id = disk.id AND NOT c.deleting)
  AND NOT EXISTS (SELECT FROM attachment a JOIN machine m ON m.id = a.machine_id
    WHERE a.disk_id = disk.id AND NOT a.read_only AND m.host = %(host)s)

-- name: machines_awaiting_disk
SELECT m.id FROM attachment a JOIN machine m ON m.id = a.machine_id WHERE a.disk_id = %(id)s AND m.host = %(host)s

-- name: dead_hosts_of_pool
SELECT DISTINCT h.name FROM disk d JOIN host h ON h.name = d.host
WHERE d.shared_pool = %(shared_pool)s AND h.name <> %(host)s AND h.heartbeat_at < now() - interval '60 seconds'

-- name: lock_host
-- As its agent does; until the end of the transaction none is started there.
SELECT pg_try_advisory_xact_lock(hashtext('agent'), hashtext(%(host)s))

-- name: held_disks_of_host
SELECT FROM disk WHERE host = %(dead)s AND shared_pool = %(shared_pool)s ORDER BY id FOR UPDATE

-- name: disks_taken_over
-- But not what its machines may still be writing to, and what a gateway there has received for it. Copies that are to be
-- made go with what they are made of.
WITH attached AS (
    SELECT a.disk_id FROM attachment a JOIN machine m ON m.id = a.machine_id
    WHERE NOT a.read_only AND m.host = %(dead)s
)
UPDATE disk SET host = %(host)s, next_host = NULL, open_until = NULL
WHERE host = %(dead)s AND shared_pool = %(shared_pool)s
  AND id NOT IN (SELECT disk_id FROM attached)
  AND NOT EXISTS (SELECT FROM disk_write w WHERE w.disk_id = disk.id AND w.kept)
  AND NOT EXISTS (SELECT FROM disk c
    WHERE c.source_disk_id = disk.id AND NOT c.deleting AND c.id IN (SELECT disk_id FROM attached))
RETURNING id

-- name: shared_pool_seen
-- By this host. Disks of one that is full are degraded.
WITH seen AS (
    UPDATE shared_pool SET disk_bytes = %(disk_bytes)s, is_full = %(is_full)s
    WHERE id = %(shared_pool)s AND (disk_bytes, is_full) IS DISTINCT FROM (%(disk_bytes)s, %(is_full)s)
), told AS (
    UPDATE disk SET state = CASE WHEN %(is_full)s THEN 'degraded' ELSE wanted END, state_message = %(message)s
    WHERE shared_pool = %(shared_pool)s AND NOT deleting AND wanted = 'online'
      AND state = CASE WHEN %(is_full)s THEN 'online' ELSE 'degraded' END
)
UPDATE host SET shared_pool = %(shared_pool)s WHERE name = %(host)s AND shared_pool IS DISTINCT FROM %(shared_pool)s

-- name: shared_pool_missed
UPDATE host SET shared_pool = NULL WHERE name = %(host)s AND shared_pool IS NOT NULL

-- name: shared_pool
SELECT id FROM shared_pool WHERE id = %(id)s

-- name: disks_of_shared_pool
-- Whichever host they are with.
SELECT id FROM disk WHERE shared_pool = %(shared_pool)s

-- name: leased_disk
-- A served disk that this host has to itself, as soon as its target lets it in; and whether anybody else waits for it.
SELECT d.host, h.portal, d.target_identifier, l.initiator, l.secret,
    l.served AND h.portal IS NOT NULL AND d.target_identifier IS NOT NULL, d.size_bytes,
    CASE WHEN d.observed_generation = 0 THEN d.image_id END, d.deleting, h.is_full,
    d.open_until, EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.kept),
    d.generation > d.observed_generation OR d.source_disk_id IS NOT NULL
        OR EXISTS (SELECT FROM disk_grant g WHERE g.disk_id = d.id)
FROM disk_lease l JOIN disk d ON d.id = l.disk_id JOIN host h ON h.name = d.host
WHERE l.disk_id = %(id)s AND l.host = %(host)s

-- name: end_disk_lease
-- Unless it is needed still, or again; the row of the disk must be locked.
DELETE FROM disk_lease l USING disk d
WHERE l.disk_id = %(id)s AND l.host = %(host)s AND d.id = l.disk_id AND (d.deleting OR d.open_until IS NULL)
  AND NOT EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.kept)

-- name: disk_not_filled
UPDATE disk SET state = 'error', state_message = %(message)s WHERE id = %(id)s

-- name: disk_waits
UPDATE disk SET state_message = %(message)s WHERE id = %(id)s AND state_message <> %(message)s

-- name: disk_observed
-- What is as it was is not written: looking again costs no commit.
UPDATE disk SET state = %(state)s, state_message = %(message)s,
    observed_generation = greatest(observed_generation, %(generation)s)
WHERE id = %(id)s AND (state, state_message, observed_generation)
    IS DISTINCT FROM (%(state)s, %(message)s, greatest(observed_generation, %(generation)s))

-- name: disk_copied
-- Both are locked in the order of `hold`: else this and a change of both could wait for each other.
WITH locked AS MATERIALIZED (
    SELECT id FROM disk WHERE id IN (%(id)s, %(source_id)s) ORDER BY id FOR UPDATE
), source AS (
    UPDATE disk SET state = wanted, state_message = ''
    WHERE id = %(source_id)s AND state IN ('backup', 'snapshot') AND (SELECT count(*) FROM locked) > 0
)
UPDATE disk SET source_disk_id = NULL WHERE id = %(id)s AND (SELECT count(*) FROM locked) > 0

-- name: disk_not_copied
-- The copy goes on wanting its source, and is tried again; the source is itself again.
UPDATE disk SET state = wanted, state_message = '' WHERE id = %(source_id)s AND state IN ('backup', 'snapshot')

-- name: disk_write
SELECT id, value_file, size_bytes, first_byte, format, state = 'pending' FROM disk_write
WHERE disk_id = %(id)s AND kept ORDER BY sequence LIMIT 1

-- name: disk_write_settled
UPDATE disk_write SET state = %(state)s, message = %(message)s WHERE id = %(id)s AND state = 'pending'

-- name: disk_write_progressed
UPDATE disk_write SET percent = %(percent)s WHERE id = %(id)s AND state = 'pending'

-- name: disk_write_dropped
UPDATE disk_write SET kept = false WHERE id = %(id)s

-- name: disk_closed
-- Unless somebody has asked for it again meanwhile.
UPDATE disk SET open_until = NULL, open_message = %(message)s WHERE id = %(id)s AND open_until = %(until)s

-- name: image
SELECT id, name, format, state, deleting, source_machine_id, save_method,
    EXISTS (SELECT 1 FROM machine m WHERE m.image_id = image.id OR m.root_image_id = image.id)
    OR EXISTS (SELECT 1 FROM disk d WHERE d.image_id = image.id)
FROM image WHERE id = %(id)s

-- name: image_ready
UPDATE image SET state = 'ready', state_message = '', format = %(format)s, size_bytes = %(size_bytes)s,
    sha256 = %(sha256)s
WHERE id = %(id)s

-- name: image_message
UPDATE image SET state = %(state)s, state_message = %(message)s WHERE id = %(id)s

-- name: sweep_machines
SELECT id, wanted, state, generation = observed_generation, deleting, admitted, boots_wanted = boots_done
FROM machine WHERE host = %(host)s

-- name: sweep_networks
-- Those that are at home here, those that machines here have interfaces on, and the site's own; the oldest first,
-- which keeps what a younger one wants too.
SELECT n.id, cidr, gateway, cidr6, masquerade6, class, wanted = 'active', vlan, sequence, state,
    generation = observed_generation, deleting, is_at_home(n, h)
FROM network n JOIN host h ON h.name = %(host)s
WHERE n.host = h.name OR n.class = ANY(h.classes) OR EXISTS (SELECT 1 FROM interface i
    JOIN machine m ON m.id = i.machine_id WHERE i.network_id = n.id AND m.host = h.name)
ORDER BY n.sequence

-- name: remotes
-- Who of these networks is on which other host.
SELECT i.network_id, i.mac, h.tunnel_address
FROM interface i JOIN machine m ON m.id = i.machine_id JOIN host h ON h.name = m.host
WHERE i.network_id = ANY(%(ids)s) AND h.name <> %(host)s AND h.tunnel_address IS NOT NULL AND NOT i.deleting
ORDER BY i.mac

-- name: other_hosts_of_network
SELECT DISTINCT m.host
FROM interface i JOIN machine m ON m.id = i.machine_id JOIN host h ON h.name = m.host
WHERE i.network_id = %(id)s AND h.name <> %(host)s AND h.tunnel_address IS NOT NULL

-- name: sweep_ports
-- What is being deleted may be gone from the host already, and must not be made anew.
SELECT i.id, i.network_id, i.mac, host(i.address), m.hostname, host(i.address6)
FROM interface i JOIN machine m ON m.id = i.machine_id
WHERE m.host = %(host)s AND NOT m.deleting AND NOT i.deleting
ORDER BY i.sequence

-- name: sweep_disks
SELECT id, wanted, state, generation = observed_generation, deleting,
    open_until IS NOT NULL OR next_host IS NOT NULL
    OR EXISTS (SELECT FROM disk_write w WHERE w.disk_id = disk.id AND w.kept)
FROM disk WHERE host = %(host)s

-- name: sweep_leases
SELECT disk_id FROM disk_lease WHERE host = %(host)s

-- name: sweep_images
SELECT id, state, deleting, source_machine_id IS NOT NULL FROM image

-- name: register_host
INSERT INTO host (name, cores, memory_mib, disk_bytes, classes, vlans, domain_type, tunnel_address)
VALUES (%(name)s, %(cores)s, %(memory_mib)s, %(disk_bytes)s, %(classes)s, %(vlans)s, %(domain_type)s,
    %(tunnel_address)s)
ON CONFLICT (name) DO UPDATE
SET cores = excluded.cores, memory_mib = excluded.memory_mib, disk_bytes = excluded.disk_bytes,
    classes = excluded.classes, vlans = excluded.vlans, domain_type = excluded.domain_type,
    tunnel_address = excluded.tunnel_address, pool = 'file', portal = NULL, started_at = now(), heartbeat_at = now()

-- name: withdraw_site_networks
-- Those that no host has any longer, unless addresses of them are held by interfaces or reservations.
DELETE FROM network n
WHERE class IS NOT NULL AND NOT EXISTS (SELECT FROM host WHERE n.class = ANY(classes))
  AND NOT EXISTS (SELECT FROM held_address h WHERE h.network_id = n.id)

-- name: heartbeat
UPDATE host SET heartbeat_at = now() WHERE name = %(name)s

-- name: forget_dead_jobs
DELETE FROM procrastinate_jobs WHERE queue_name = %(host)s AND status = 'doing'

-- name: ensure_site_network
-- Ranges of addresses stay what they are once interfaces or reservations have some of them.
INSERT INTO network (id, title, summary, cidr, gateway, cidr6, masquerade6, allocation, shared, class)
VALUES (gen_random_uuid(), %(title)s, %(summary)s, %(cidr)s, %(gateway)s, %(cidr6)s, %(masquerade6)s, 'dynamic', true,
    %(class)s)
ON CONFLICT (class) WHERE class IS NOT NULL DO UPDATE
SET masquerade6 = excluded.masquerade6,
    cidr6 = CASE WHEN EXISTS (SELECT FROM held_address h WHERE h.network_id = network.id) THEN network.cidr6
        ELSE excluded.cidr6 END

-- name: unmeasured
DELETE FROM measurement USING machine m
WHERE m.id = machine_id AND m.host = %(host)s AND NOT machine_id = ANY(%(measured)s)

-- name: measured
-- The machine's row may have gone since it was measured.
INSERT INTO measurement (machine_id, cpu_seconds, memory_resident_mib, disk_read_bytes, disk_written_bytes,
    network_received_bytes, network_sent_bytes)
SELECT id, %(cpu_seconds)s, %(memory_resident_mib)s, %(disk_read_bytes)s, %(disk_written_bytes)s,
    %(network_received_bytes)s, %(network_sent_bytes)s
FROM machine WHERE id = %(id)s
ON CONFLICT (machine_id) DO UPDATE
SET measured_at = now(), cpu_seconds = excluded.cpu_seconds, memory_resident_mib = excluded.memory_resident_mib,
    disk_read_bytes = excluded.disk_read_bytes, disk_written_bytes = excluded.disk_written_bytes,
    network_received_bytes = excluded.network_received_bytes, network_sent_bytes = excluded.network_sent_bytes
