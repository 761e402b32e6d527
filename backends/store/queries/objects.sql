-- Stored objects. A way is an object with everything above it, the root first. Recursion ends even in a cycle, which
-- nothing can make.

-- name: ensure_root
WITH root AS (
    INSERT INTO stored_object (id, project_id, kind, owner) VALUES (%(project)s, %(project)s, 'container', '')
    ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner)
SELECT gen_random_uuid(), id, id, 'disks', 'container', '' FROM root

-- name: ascent
WITH RECURSIVE way (id, parent_id) AS (
    SELECT o.id, o.parent_id FROM stored_object o
    WHERE o.id = %(start)s AND o.project_id IS NOT DISTINCT FROM %(project)s
    UNION
    SELECT o.id, o.parent_id FROM way CROSS JOIN LATERAL (
        SELECT o.id, o.parent_id FROM stored_object o WHERE o.id = way.parent_id OFFSET 0
    ) o
)
SELECT {columns} FROM way CROSS JOIN LATERAL (SELECT * FROM stored_object o WHERE o.id = way.id OFFSET 0) o

-- name: page
WITH RECURSIVE page (id, parent_id) AS (
    SELECT o.id, o.parent_id FROM stored_object o
    WHERE o.project_id = %(project)s AND (%(after)s::uuid IS NULL OR o.id > %(after)s) ORDER BY o.id LIMIT %(limit)s
), up (id, parent_id) AS (
    SELECT page.id, page.parent_id FROM page
    UNION
    SELECT o.id, o.parent_id FROM up JOIN stored_object o ON o.id = up.parent_id
), way (id, depth) AS (
    SELECT up.id, CASE WHEN up.id IN (SELECT page.id FROM page) THEN 0 ELSE -1 END FROM up
)
SELECT {columns} FROM way JOIN stored_object o ON o.id = way.id ORDER BY way.depth DESC, o.id

-- name: tree
WITH RECURSIVE way (id, depth) AS (
    SELECT %(id)s::uuid, 0
    UNION ALL
    SELECT o.id, way.depth + 1 FROM way JOIN stored_object o ON o.parent_id = way.id
) CYCLE id SET is_again USING path
SELECT {columns} FROM way JOIN stored_object o ON o.id = way.id WHERE NOT way.is_again
ORDER BY way.depth, o.name, o.version

-- name: lock
-- Whoever writes a child needs its parent's key, which stays free: else it and a snapshot would wait for each other.
SELECT o.id FROM stored_object o WHERE o.id = %(id)s FOR NO KEY UPDATE

-- name: children
SELECT o.name, o.kind, o.size_bytes, o.modified_at, o.mimetype, o.metadata -> 'cdmi_acl', o.owner FROM stored_object o
WHERE o.parent_id = %(parent)s AND o.name <> 'cdmi_snapshots'
ORDER BY o.name LIMIT %(limit)s OFFSET %(offset)s

-- The way to the first of them is in the index alone, however far it is.
-- name: child_names
SELECT o.name, o.kind FROM stored_object o
WHERE o.parent_id = %(parent)s AND o.name <> 'cdmi_snapshots' AND o.name >= (
    SELECT s.name FROM stored_object s WHERE s.parent_id = %(parent)s AND s.name <> 'cdmi_snapshots'
    ORDER BY s.name LIMIT 1 OFFSET %(offset)s
)
ORDER BY o.name LIMIT %(limit)s

-- name: count_children
SELECT count(*) FROM stored_object o WHERE o.parent_id = %(parent)s AND o.name <> 'cdmi_snapshots'

-- name: insert
INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner, metadata, mimetype, encoding, completion,
    target, value, value_file, size_bytes, written, sha256, fields, is_new)
VALUES (%(id)s, %(project)s, %(parent)s, %(name)s, %(kind)s, %(owner)s, %(metadata)s, %(mimetype)s, %(encoding)s,
    %(completion)s, %(target)s, %(value)s, %(value_file)s, %(size_bytes)s, %(written)s,
    %(sha256)s, %(fields)s, %(completion)s = 'Processing')
ON CONFLICT DO NOTHING
RETURNING created_at, modified_at

-- name: change
UPDATE stored_object SET metadata = coalesce(%(metadata)s, metadata), mimetype = coalesce(%(mimetype)s, mimetype),
    encoding = coalesce(%(encoding)s, encoding), fields = coalesce(%(fields)s, fields), completion = %(completion)s,
    is_new = is_new AND %(completion)s = 'Processing', modified_at = clock_timestamp(), modifications = modifications + 1
WHERE id = %(id)s

-- name: set_value
UPDATE stored_object SET value = %(value)s, value_file = %(value_file)s, size_bytes = %(size_bytes)s,
    written = %(written)s, sha256 = %(sha256)s
WHERE id = %(id)s

-- name: share_value
UPDATE stored_object o SET value = s.value, value_file = s.value_file, size_bytes = s.size_bytes, written = s.written,
    sha256 = s.sha256
FROM stored_object s WHERE o.id = %(id)s AND s.id = %(source)s

-- name: set_sha256
UPDATE stored_object SET sha256 = %(sha256)s
WHERE id = %(id)s AND modifications = %(modifications)s

-- name: written
SELECT o.written FROM stored_object o WHERE o.id = %(id)s

-- name: sharers
-- Rows that point to a file; what is to be written to a disk stands in one too.
SELECT (SELECT count(*) FROM stored_object o WHERE o.value_file = %(file)s)
    + (SELECT count(*) FROM disk_write w WHERE w.value_file = %(file)s AND w.kept)

-- name: lists
-- What decides about rights to an object and all below it: the nearest list (null: the object's own or what that
-- inherits), how far above it is, and whose it is, each combination once. What a snapshot holds goes with its container,
-- and isn't copied.
WITH RECURSIVE tree (id, list_id, level, kind, owner) AS (
    SELECT o.id, NULL::uuid, 0, o.kind, o.owner FROM stored_object o WHERE o.id = %(id)s
    UNION
    SELECT o.id, CASE WHEN o.metadata ->> 'cdmi_acl' IS NULL THEN tree.list_id ELSE o.id END,
        CASE WHEN o.metadata ->> 'cdmi_acl' IS NULL THEN least(tree.level + 1, 2) ELSE 0 END, o.kind, o.owner
    FROM tree JOIN stored_object o ON o.parent_id = tree.id AND o.name <> 'cdmi_snapshots'
)
SELECT DISTINCT l.metadata -> 'cdmi_acl', tree.level, tree.kind = 'container', tree.owner,
    tree.kind = 'container' AND EXISTS (SELECT FROM stored_object o WHERE o.parent_id = tree.id)
FROM tree LEFT JOIN stored_object l ON l.id = tree.list_id

-- name: below
-- What may have to be kept.
WITH RECURSIVE tree (id) AS (
    SELECT %(id)s::uuid
    UNION
    SELECT o.id FROM tree JOIN stored_object o ON o.parent_id = tree.id AND o.name <> 'cdmi_snapshots'
)
SELECT o.id, o.metadata FROM tree JOIN stored_object o ON o.id = tree.id
WHERE o.metadata ?| ARRAY['cdmi_hold_id', 'cdmi_retention_period'] AND o.id <> %(id)s

-- name: delete
WITH RECURSIVE tree (id) AS (
    SELECT %(id)s::uuid
    UNION
    SELECT o.id FROM tree JOIN stored_object o ON o.parent_id = tree.id
)
DELETE FROM stored_object WHERE id IN (SELECT tree.id FROM tree) RETURNING value_file

-- name: delete_children
WITH RECURSIVE tree (id) AS (
    SELECT o.id FROM stored_object o WHERE o.parent_id = %(id)s AND o.name <> 'cdmi_snapshots'
    UNION
    SELECT o.id FROM tree JOIN stored_object o ON o.parent_id = tree.id
)
DELETE FROM stored_object WHERE id IN (SELECT tree.id FROM tree) RETURNING value_file

-- name: lock_tree
-- As `lock`, with all that is below. From the top down, so that two who lock trees one in the other don't block each
-- other; at last the queues that the cloud fills, which others tell of what they hold.
WITH RECURSIVE tree (id, depth) AS (
    SELECT %(id)s::uuid, 0
    UNION ALL
    SELECT o.id, tree.depth + 1 FROM tree JOIN stored_object o ON o.parent_id = tree.id AND o.name <> 'cdmi_snapshots'
) CYCLE id SET is_again USING path
SELECT o.id, o.completion FROM tree JOIN stored_object o ON o.id = tree.id WHERE NOT tree.is_again
ORDER BY EXISTS (SELECT FROM queue_feed f WHERE f.queue_id = o.id), tree.depth, o.id FOR NO KEY UPDATE OF o

-- name: hold_tree
-- Inserting a child takes its container's key, which isn't free then.
WITH RECURSIVE tree (id) AS (
    SELECT %(id)s::uuid
    UNION
    SELECT o.id FROM tree JOIN stored_object o ON o.parent_id = tree.id AND o.name <> 'cdmi_snapshots'
)
SELECT o.id FROM stored_object o WHERE o.id IN (SELECT tree.id FROM tree) ORDER BY o.id FOR UPDATE

-- name: kept
-- What has holds or retention of its own: an object and, if that is asked for, all below it.
WITH RECURSIVE tree (id, path) AS (
    SELECT %(id)s::uuid, '' COLLATE "C"
    UNION ALL
    SELECT o.id, concat(nullif(tree.path, '') || '/', coalesce(o.name, o.id::text))
    FROM tree JOIN stored_object o ON o.parent_id = tree.id WHERE %(below)s
)
SELECT o.id, tree.path, o.metadata FROM tree JOIN stored_object o ON o.id = tree.id
WHERE o.project_id = %(project)s AND o.metadata ?| %(names)s::text[] ORDER BY o.id FOR UPDATE OF o

-- name: release
UPDATE stored_object SET metadata = metadata - %(names)s::text[], modified_at = clock_timestamp(),
    modifications = modifications + 1
WHERE id = ANY(%(ids)s)

-- name: copy_tree
-- Without `owner` each copy is whose its original is.
-- What `lock_tree` has locked, and so is as it was judged; nothing that has been put in since.
WITH RECURSIVE tree (id) AS (
    SELECT %(source)s::uuid
    UNION
    SELECT o.id FROM tree JOIN stored_object o ON o.parent_id = tree.id
        JOIN unnest(%(locked)s::uuid[]) locked (id) ON locked.id = o.id
), mapping AS MATERIALIZED (
    SELECT tree.id, CASE WHEN tree.id = %(source)s THEN %(copy)s::uuid ELSE gen_random_uuid() END AS copy_id FROM tree
), made AS (
    INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner, metadata, mimetype, encoding, completion,
        target, value, value_file, size_bytes, written, sha256, next_position, fields)
    SELECT mapping.copy_id, o.project_id,
        CASE WHEN o.id = %(source)s THEN %(parent)s::uuid ELSE above.copy_id END,
        CASE WHEN o.id = %(source)s THEN %(name)s::text ELSE o.name END,
        o.kind, coalesce(%(owner)s::text, o.owner),
        coalesce(
            CASE WHEN o.id = %(source)s THEN %(metadata)s::jsonb END,
            o.metadata - ARRAY['cdmi_hold_id', 'cdmi_retention_id', 'cdmi_retention_period', 'cdmi_queue_type']
        ),
        CASE WHEN o.id = %(source)s THEN coalesce(%(mimetype)s::text, o.mimetype) ELSE o.mimetype END,
        o.encoding, o.completion, o.target, o.value, o.value_file,
        CASE WHEN o.kind = 'queue' THEN 0 ELSE o.size_bytes END, o.written, o.sha256, o.next_position,
        CASE WHEN o.id = %(source)s THEN coalesce(%(fields)s::jsonb, o.fields) ELSE o.fields END
    FROM mapping JOIN stored_object o ON o.id = mapping.id LEFT JOIN mapping above ON above.id = o.parent_id
    WHERE NOT (o.id = %(source)s AND %(onto)s)
)
INSERT INTO queue_value (queue_id, position, mimetype, encoding, value)
SELECT mapping.copy_id, q.position, q.mimetype, q.encoding, q.value
FROM mapping JOIN queue_value q ON q.queue_id = mapping.id

-- name: move
UPDATE stored_object SET parent_id = %(parent)s, name = %(name)s WHERE id = %(id)s

-- name: enqueue
WITH numbered AS (
    UPDATE stored_object SET next_position = next_position + 1, modified_at = clock_timestamp(),
        modifications = modifications + 1
    WHERE id = %(id)s RETURNING next_position - 1 AS position
)
INSERT INTO queue_value (queue_id, position, mimetype, encoding, value)
SELECT %(id)s, numbered.position, %(mimetype)s, %(encoding)s, %(value)s FROM numbered

-- name: queue_values
SELECT asked.position, asked.mimetype, asked.encoding,
    CASE WHEN sum(octet_length(asked.value)) OVER (ORDER BY asked.position) <= %(bytes)s THEN asked.value END
FROM (
    SELECT q.position, q.mimetype, q.encoding, q.value FROM queue_value q
    WHERE q.queue_id = %(id)s AND q.position BETWEEN %(first)s AND %(last)s
    ORDER BY q.position LIMIT %(limit)s
) asked
ORDER BY asked.position

-- name: queue_size
SELECT coalesce(sum(octet_length(q.value)), 0)::bigint, count(*) FROM queue_value q WHERE q.queue_id = %(id)s

-- name: dequeue
DELETE FROM queue_value q WHERE q.queue_id = %(id)s AND q.position BETWEEN %(first)s AND %(last)s

-- name: identity_taken
SELECT EXISTS (SELECT FROM stored_object WHERE id = %(id)s) OR EXISTS (SELECT FROM project WHERE id = %(id)s)
    OR EXISTS (SELECT FROM disk WHERE id = %(id)s) OR EXISTS (SELECT FROM disk WHERE value_id = %(id)s)
