-- Disks as children of the container `disks`.

-- name: names
SELECT d.shown_name FROM disk d WHERE d.project_id = %(project)s AND NOT d.deleting AND d.snapshot_of IS NULL
ORDER BY d.shown_name LIMIT %(limit)s OFFSET %(offset)s

-- name: count
SELECT count(*) FROM disk d WHERE d.project_id = %(project)s AND NOT d.deleting AND d.snapshot_of IS NULL

-- name: owner
-- A snapshot is its disk's.
SELECT d.project_id, coalesce(p.owner, d.owner) FROM disk d LEFT JOIN disk p ON p.id = d.snapshot_of
WHERE d.id = %(id)s

-- name: kept_by
-- The metadata of all that may keep it from being changed or deleted, the topmost first.
SELECT r.metadata, c.metadata, p.metadata, d.metadata FROM disk d
LEFT JOIN stored_object r ON r.id = d.project_id
LEFT JOIN stored_object c ON c.parent_id = d.project_id AND c.name = 'disks'
LEFT JOIN disk p ON p.id = d.snapshot_of
WHERE d.id = %(id)s

-- name: by_name
SELECT d.id FROM disk d
WHERE d.project_id = %(project)s AND d.shown_name = %(name)s AND NOT d.deleting AND d.snapshot_of IS NULL

-- name: kept
-- As `objects.kept`: the disk, or all those below the root or the container of disks.
SELECT d.id, CASE %(id)s WHEN d.id THEN '' WHEN %(project)s THEN 'disks/' || d.shown_name ELSE d.shown_name END, d.metadata
FROM disk d
WHERE d.project_id = %(project)s AND d.metadata ?| %(names)s::text[] AND NOT d.deleting AND (d.id = %(id)s OR %(below)s
    AND EXISTS (SELECT FROM stored_object o WHERE o.id = %(id)s AND %(project)s IN (o.id, o.parent_id)
        AND (o.parent_id IS NULL OR o.name = 'disks')))
ORDER BY d.id FOR UPDATE OF d

-- name: release
UPDATE disk SET metadata = metadata - %(names)s::text[] WHERE id = ANY(%(ids)s)

-- name: named
-- What a storage host hasn't done yet, a withdrawn export too, is told; of other disks the state tells it.
SELECT d.id,
    CASE WHEN d.snapshot_of IS NULL THEN ARRAY['disks', d.shown_name]
        ELSE ARRAY['disks', p.shown_name, 'cdmi_snapshots', d.shown_name] END,
    d.size_bytes, d.state, d.state_message,
    d.observed_generation > CASE WHEN d.pool = 'iscsi' THEN d.generation - 1 ELSE 0 END AND d.source_disk_id IS NULL,
    d.metadata, d.created_at, d.pool, d.export_names, d.fields, d.snapshot_of, d.read_only,
    d.value_id, d.host, p.owner, w.state, w.message, w.percent,
    coalesce(CASE d.pool WHEN 'file' THEN d.host = %(here)s
        WHEN 'shared' THEN d.shared_pool = (SELECT h.shared_pool FROM host h WHERE h.name = %(here)s)
        WHEN 'iscsi' THEN d.host IS NOT NULL AND EXISTS (SELECT FROM host h WHERE h.name = %(here)s AND h.pool = 'file')
        END, false),
    d.volatile, d.restricted, EXISTS (SELECT FROM disk_grant g WHERE g.disk_id = d.id AND g.attachment_id IS NULL),
    EXISTS (SELECT FROM attachment a WHERE a.disk_id = d.id), p.metadata
FROM disk p JOIN disk d ON CASE WHEN %(snapshot)s::text IS NULL THEN d.id = p.id
    ELSE d.snapshot_of = p.id AND d.shown_name = %(snapshot)s AND NOT d.deleting END
LEFT JOIN LATERAL (SELECT state, message, percent FROM disk_write WHERE disk_id = d.id ORDER BY sequence DESC LIMIT 1) w ON true
WHERE p.project_id = %(project)s AND p.shown_name = ANY(%(names)s) AND NOT p.deleting AND p.snapshot_of IS NULL
ORDER BY p.shown_name

-- name: snapshots
SELECT d.shown_name FROM disk d WHERE d.snapshot_of = %(id)s AND NOT d.deleting ORDER BY d.sequence

-- name: way
-- The names below the root by which an ID leads to a disk, its value, a snapshot, a disk's snapshots, or the container
-- of all.
SELECT CASE WHEN d.snapshot_of IS NULL THEN ARRAY['disks', d.shown_name]
    ELSE ARRAY['disks', p.shown_name, 'cdmi_snapshots', d.shown_name] END
FROM disk d LEFT JOIN disk p ON p.id = d.snapshot_of
WHERE d.id = %(id)s AND d.project_id = %(project)s AND NOT d.deleting
UNION ALL
SELECT CASE WHEN d.snapshot_of IS NULL THEN ARRAY['disks', d.shown_name, 'value']
    ELSE ARRAY['disks', p.shown_name, 'cdmi_snapshots', d.shown_name, 'value'] END
FROM disk d LEFT JOIN disk p ON p.id = d.snapshot_of
WHERE d.value_id = %(id)s AND d.project_id = %(project)s AND NOT d.deleting
UNION ALL
SELECT ARRAY['disks', d.shown_name, 'cdmi_snapshots'] FROM disk d
WHERE d.id = %(above)s AND d.project_id = %(project)s AND NOT d.deleting AND d.snapshot_of IS NULL
  AND EXISTS (SELECT FROM disk s WHERE s.snapshot_of = d.id AND NOT s.deleting)
UNION ALL
SELECT ARRAY['disks'] FROM stored_object o
WHERE o.id = %(id)s AND o.parent_id = %(project)s AND o.project_id = %(project)s AND o.name = 'disks'

-- name: volatile_of
-- Of machines: those that go with them, and their snapshots.
SELECT d.id FROM attachment a JOIN disk v ON v.id = a.disk_id JOIN disk d ON v.id IN (d.id, d.snapshot_of)
WHERE a.machine_id = ANY(%(machines)s) AND v.volatile AND NOT a.deleting AND NOT d.deleting

-- name: forget
-- One that no host has: a machine that still has it is being deleted.
WITH untagged AS (
    DELETE FROM tagging
    WHERE resource_id = %(id)s OR resource_id IN (SELECT id FROM attachment WHERE disk_id = %(id)s)
)
DELETE FROM attachment WHERE disk_id = %(id)s

-- name: tag
-- Of what users make of it, not of its bytes nor of what its host reports.
SELECT md5(ROW(d.id, d.size_bytes, d.read_only, d.volatile, d.metadata, d.fields, d.export_names, d.restricted,
    ARRAY(SELECT p.machine_id FROM disk_permit p WHERE p.disk_id = d.id ORDER BY 1),
    ARRAY(SELECT g.initiator FROM disk_grant g WHERE g.disk_id = d.id AND g.attachment_id IS NULL ORDER BY 1),
    ARRAY(SELECT s.id FROM disk s WHERE s.snapshot_of = d.id AND NOT s.deleting ORDER BY s.sequence))::text)
FROM disk d WHERE d.id = %(id)s AND NOT d.deleting

-- name: set_name
UPDATE disk SET name = %(name)s, metadata = %(metadata)s, fields = %(fields)s WHERE id = %(id)s

-- name: name_exports
UPDATE disk SET export_names = %(names)s WHERE id = %(id)s

-- name: set_metadata
UPDATE disk SET metadata = coalesce(%(metadata)s, metadata), fields = coalesce(%(fields)s, fields) WHERE id = %(id)s

-- name: bytes
-- Whether a disk's bytes may be read and written now, and who stands in the way.
SELECT d.host, d.pool, d.size_bytes, d.state, d.wanted, d.state_message,
    d.observed_generation > 0 AND d.source_disk_id IS NULL, d.deleting, d.open_message,
    (SELECT a.machine_id FROM attachment a WHERE a.disk_id = d.id ORDER BY a.sequence LIMIT 1),
    EXISTS (SELECT FROM disk_write w WHERE w.disk_id = d.id AND w.state = 'pending'),
    EXISTS (SELECT FROM disk c WHERE c.source_disk_id = d.id AND NOT c.deleting),
    (SELECT g.initiator FROM disk_grant g WHERE g.disk_id = d.id AND g.attachment_id IS NULL LIMIT 1),
    ARRAY(SELECT h.name FROM host h
        WHERE h.name IN (d.host, %(here)s) AND h.heartbeat_at > now() - interval '60 seconds')
FROM disk d WHERE d.id = %(id)s

-- name: ask_to_open
UPDATE disk SET open_until = greatest(open_until, now() + make_interval(secs => %(seconds)s)), open_message = ''
WHERE id = %(id)s

-- name: ask_for
-- By the host of a gateway that is to read or write it; the present host is told once.
UPDATE disk SET next_host = %(here)s
WHERE id = %(id)s AND host <> %(here)s AND next_host IS DISTINCT FROM %(here)s
RETURNING host

-- name: add_write
INSERT INTO disk_write (id, disk_id, value_file, size_bytes, first_byte, format)
VALUES (%(id)s, %(disk)s, %(file)s, %(size_bytes)s, %(first_byte)s, %(format)s)
ON CONFLICT (disk_id) WHERE state = 'pending' DO NOTHING

-- name: forget_writes
-- Those whose outcome has been told.
DELETE FROM disk_write WHERE disk_id = %(disk)s AND NOT kept AND created_at < now() - interval '1 minute'

-- name: write
SELECT state, message FROM disk_write WHERE id = %(id)s
