-- Interfaces and attachments.

-- name: next_address
-- The first free one of all, or `after_given` that after the highest that was given: those that users chose move nothing.
WITH taken AS NOT MATERIALIZED (
    SELECT address FROM held_address WHERE network_id = %(network_id)s
    UNION ALL SELECT unnest(string_to_array(%(unavailable)s, ',')::inet[])
), start AS (
    SELECT greatest(%(first)s::inet, CASE WHEN %(after_given)s THEN max(address) + 1 END) AS address
    FROM interface WHERE network_id = %(network_id)s AND allocation = 'dynamic'
)
SELECT host(before.address + 1)
FROM (
    SELECT address - 1 AS address FROM start
    UNION ALL SELECT address FROM taken WHERE address >= (SELECT address FROM start)
) before
WHERE before.address < %(last)s::inet AND NOT EXISTS (SELECT FROM taken t WHERE t.address = before.address + 1)
ORDER BY before.address LIMIT 1

-- name: host_of_network
-- The only host that it can be on: a tunnel or a VLAN leads to others.
SELECT n.host FROM network n JOIN host h ON h.name = n.host
WHERE n.id = %(id)s AND h.tunnel_address IS NULL AND n.vlan IS NULL

-- name: bandwidths
SELECT i.id, i.ingress_kbit_s, i.egress_kbit_s FROM interface i JOIN machine m ON m.id = i.machine_id
WHERE m.host = %(host)s AND NOT m.deleting AND NOT i.deleting
    AND (i.ingress_kbit_s IS NOT NULL OR i.egress_kbit_s IS NOT NULL)
