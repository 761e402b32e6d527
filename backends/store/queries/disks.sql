-- Disks as children of the container `disks`.

-- name: names
SELECT d.shown_name FROM disk d WHERE d.project_id = %(project)s AND NOT d.deleting
ORDER BY d.shown_name LIMIT %(limit)s OFFSET %(offset)s

-- name: named
-- What a storage host hasn't done yet, a withdrawn export too, is told; of other disks the state tells it.
SELECT d.id, d.shown_name, d.size_bytes, d.state, d.state_message,
    d.observed_generation > CASE WHEN d.pool = 'iscsi' THEN d.generation - 1 ELSE 0 END,
    d.metadata, d.created_at, d.pool, d.export_names, d.fields
FROM disk d WHERE d.project_id = %(project)s AND d.shown_name = %(name)s AND NOT d.deleting

-- name: way
-- The names below the root by which an ID leads to a disk, or to the container of all.
SELECT ARRAY['disks', d.shown_name] FROM disk d
WHERE d.id = %(id)s AND d.project_id = %(project)s AND NOT d.deleting
UNION ALL
SELECT ARRAY['disks'] FROM stored_object o
WHERE o.id = %(id)s AND o.parent_id = %(project)s AND o.project_id = %(project)s AND o.name = 'disks'

-- name: set_name
UPDATE disk SET name = %(name)s, metadata = %(metadata)s, fields = %(fields)s WHERE id = %(id)s

-- name: name_exports
UPDATE disk SET export_names = %(names)s WHERE id = %(id)s

-- name: set_metadata
UPDATE disk SET metadata = coalesce(%(metadata)s, metadata), fields = coalesce(%(fields)s, fields) WHERE id = %(id)s
