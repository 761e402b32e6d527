-- What projects have and may have. The counts here are those that the triggers of 0018_quotas, 0018_public_addresses and
-- 0021_reservations keep.

-- name: objects
SELECT count(*) FROM stored_object o WHERE o.project_id = %(project)s
    AND is_counted(o.id, o.parent_id, o.project_id, o.name)

-- name: object_bytes
SELECT coalesce(sum(counted_bytes(o.size_bytes, o.same_value)), 0)::bigint FROM stored_object o WHERE o.project_id = %(project)s

-- name: disks
SELECT count(*) FROM disk d WHERE d.project_id = %(project)s AND NOT d.deleting

-- name: disk_bytes
SELECT (
    coalesce((SELECT sum(d.size_bytes) FROM disk d WHERE d.project_id = %(project)s AND NOT d.deleting), 0)
    + coalesce((SELECT sum(m.root_size_bytes) FROM machine m WHERE m.project_id = %(project)s AND NOT m.deleting), 0)
)::bigint

-- name: machines
SELECT count(*) FROM machine m WHERE m.project_id = %(project)s AND NOT m.deleting

-- name: cores
SELECT coalesce(sum(m.cores), 0)::bigint FROM machine m WHERE m.project_id = %(project)s AND NOT m.deleting

-- name: memory_mib
SELECT coalesce(sum(m.memory_mib), 0)::bigint FROM machine m WHERE m.project_id = %(project)s AND NOT m.deleting

-- name: networks
SELECT count(*) FROM network n WHERE n.project_id = %(project)s AND NOT n.deleting

-- name: images
SELECT count(*) FROM image i WHERE i.project_id = %(project)s AND NOT i.deleting

-- name: addresses
SELECT count(*) FROM (
    SELECT network_id FROM interface WHERE project_id = %(project)s AND reservation_id IS NULL
    UNION ALL SELECT network_id FROM reservation WHERE project_id = %(project)s
) a JOIN network n ON n.id = a.network_id
WHERE n.shared AND n.class <> 'public'

-- name: public_addresses
SELECT count(*) FROM (
    SELECT network_id FROM interface WHERE project_id = %(project)s AND reservation_id IS NULL
    UNION ALL SELECT network_id FROM reservation WHERE project_id = %(project)s
) a JOIN network n ON n.id = a.network_id
WHERE n.class = 'public'

-- name: limits
SELECT q.resource, q.most, q.used FROM quota q WHERE q.project_id = %(project)s

-- name: limit
SELECT q.most, q.used FROM quota q WHERE q.project_id = %(project)s AND q.resource = %(resource)s

-- name: change_limit
UPDATE quota SET most = %(most)s WHERE project_id = %(project)s AND resource = %(resource)s

-- name: set_limit
INSERT INTO quota (project_id, resource, most, used) VALUES (%(project)s, %(resource)s, %(most)s, %(used)s)
ON CONFLICT (project_id, resource) DO UPDATE SET most = EXCLUDED.most

-- name: lift_limit
DELETE FROM quota WHERE project_id = %(project)s AND resource = %(resource)s
