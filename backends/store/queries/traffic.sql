-- What interfaces receive and send.

-- name: begin
-- Before the tap is there. A row that another project's interface of the same identity has left is in the way.
INSERT INTO traffic (interface_id, project_id, host)
SELECT id, project_id, %(host)s FROM interface WHERE id = %(id)s
ON CONFLICT (interface_id) DO UPDATE SET host = excluded.host WHERE traffic.project_id = excluded.project_id

-- name: counting
-- One agent at a time reads a host's taps and writes what it has read.
SELECT pg_advisory_xact_lock(hashtext('traffic'), hashtext(%(host)s))

-- name: of_host
SELECT t.interface_id, t.boot, t.link, t.received_bytes, t.received_packets, t.sent_bytes, t.sent_packets, t.seen,
    NOT EXISTS (SELECT FROM interface i WHERE i.id = t.interface_id AND i.project_id = t.project_id)
FROM traffic t WHERE t.host = %(host)s

-- name: counted
UPDATE traffic SET boot = %(boot)s, link = %(link)s, received_bytes = %(received_bytes)s,
    received_packets = %(received_packets)s, sent_bytes = %(sent_bytes)s, sent_packets = %(sent_packets)s,
    seen = %(seen)s
WHERE interface_id = %(id)s

-- name: settle
-- Unless it has been made again since.
WITH gone AS (
    DELETE FROM traffic t WHERE interface_id = ANY(%(ids)s) AND NOT EXISTS (
        SELECT FROM interface i WHERE i.id = t.interface_id AND i.project_id = t.project_id
    ) RETURNING t.*
)
INSERT INTO traffic_of_gone AS total (project_id, received_bytes, received_packets, sent_bytes, sent_packets)
SELECT project_id, sum(received_bytes), sum(received_packets), sum(sent_bytes), sum(sent_packets)
FROM gone GROUP BY project_id ORDER BY project_id
ON CONFLICT (project_id) DO UPDATE SET received_bytes = total.received_bytes + excluded.received_bytes,
    received_packets = total.received_packets + excluded.received_packets,
    sent_bytes = total.sent_bytes + excluded.sent_bytes, sent_packets = total.sent_packets + excluded.sent_packets

-- name: of_interfaces
SELECT t.interface_id::text, i.machine_id::text, p.name, t.received_bytes, t.received_packets, t.sent_bytes,
    t.sent_packets
FROM traffic t JOIN interface i ON i.id = t.interface_id JOIN project p ON p.id = t.project_id
ORDER BY i.sequence

-- name: of_projects
SELECT name, received_bytes, received_packets, sent_bytes, sent_packets FROM project_traffic ORDER BY name
