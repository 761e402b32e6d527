-- Interfaces and attachments.

-- name: next_address
-- Reserved addresses are passed over wherever they are, so a high one makes none the last.
WITH highest AS (
    SELECT max(address) AS address FROM interface WHERE network_id = %(network_id)s AND reservation_id IS NULL
), after_highest AS (
    SELECT coalesce(greatest((SELECT address FROM highest) + 1, %(first)s::inet), %(first)s::inet) AS address
), reserved AS (
    SELECT address FROM reservation
    WHERE network_id = %(network_id)s AND address >= (SELECT address FROM after_highest)
), candidates AS (
    SELECT address + step AS address
    FROM after_highest, generate_series(0, 3 + (SELECT count(*) FROM reserved)) AS step
)
SELECT host(coalesce(
    (SELECT min(address) FROM candidates
     WHERE address <= %(last)s::inet AND address <> ALL(string_to_array(%(unavailable)s, ',')::inet[])
       AND NOT EXISTS (SELECT FROM reserved r WHERE r.address = candidates.address)),
    (SELECT min(free.address) FROM (
        SELECT %(first)s::inet + step AS address
        FROM generate_series(0, least(%(last)s::inet - %(first)s::inet, 65536)) AS step
        EXCEPT
        SELECT address FROM held_address WHERE network_id = %(network_id)s
    ) free WHERE free.address <> ALL(string_to_array(%(unavailable)s, ',')::inet[]))
))

-- name: host_of_network
-- The only host that it can be on: a tunnel or a VLAN leads to others.
SELECT n.host FROM network n JOIN host h ON h.name = n.host
WHERE n.id = %(id)s AND h.tunnel_address IS NULL AND n.vlan IS NULL

-- name: bandwidths
SELECT i.id, i.ingress_kbit_s, i.egress_kbit_s FROM interface i JOIN machine m ON m.id = i.machine_id
WHERE m.host = %(host)s AND NOT m.deleting AND NOT i.deleting
    AND (i.ingress_kbit_s IS NOT NULL OR i.egress_kbit_s IS NOT NULL)
