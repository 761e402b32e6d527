-- Versions of data objects. What is asked of one is its own metadata's, else that of the nearest container above it.

-- name: below
-- The beginning of others: an object and all below it, with what was and is asked of them.
WITH RECURSIVE below (id, was, level, most, age, size) AS (
    SELECT o.id, %(was)s::text, %(level)s::text, %(count)s::text, %(age)s::text, %(size)s::text
    FROM stored_object o WHERE o.id = %(id)s
    UNION
    SELECT o.id, coalesce(o.metadata ->> 'cdmi_versioning', below.was),
        coalesce(o.metadata ->> 'cdmi_versioning', below.level), coalesce(o.metadata ->> 'cdmi_versions_count', below.most),
        coalesce(o.metadata ->> 'cdmi_versions_age', below.age), coalesce(o.metadata ->> 'cdmi_versions_size', below.size)
    FROM below JOIN stored_object o ON o.parent_id = below.id AND o.name <> 'cdmi_snapshots'
), ruled (id, was, level, most, age, size) AS (
    SELECT below.id, coalesce(below.was, ''), coalesce(below.level, ''), nullif(below.most, '')::bigint,
        make_interval(secs => nullif(below.age, '')::bigint), nullif(below.size, '')::bigint
    FROM below
)

-- name: make
{below}, due AS (
    SELECT o.id, ruled.age
    FROM ruled
    JOIN stored_object o ON o.id = ruled.id
    LEFT JOIN stored_object v ON v.parent_id = o.id AND v.version = o.current_version
    WHERE o.kind = 'dataobject' AND o.completion = 'Complete' AND ruled.level <> ''
        AND (v.id IS NULL OR NOT v.same_value OR ruled.was = ''
            OR (v.mimetype, v.encoding) IS DISTINCT FROM (o.mimetype, o.encoding)
            OR (ruled.level <> 'value'
                AND (v.fields, user_items(v.metadata)) IS DISTINCT FROM (o.fields, user_items(o.metadata)))
            OR (ruled.level = 'all' AND o.id = %(updated)s))
), past AS (
    UPDATE stored_object v SET same_value = false FROM due
    WHERE v.parent_id = due.id AND v.version IS NOT NULL AND v.same_value
), numbered AS (
    UPDATE stored_object o SET current_version = coalesce(o.current_version, 0) + 1 FROM due WHERE o.id = due.id
    RETURNING o.*, due.age
)
INSERT INTO stored_object (id, project_id, parent_id, version, kind, owner, metadata, mimetype, encoding, value,
    value_file, size_bytes, written, sha256, fields, same_value, expires_at)
SELECT gen_random_uuid(), n.project_id, n.id, n.current_version, n.kind, n.owner, n.metadata - %(not_of_versions)s::text[],
    n.mimetype, n.encoding, n.value, n.value_file, n.size_bytes, n.written, n.sha256, n.fields, true,
    clock_timestamp() + n.age
FROM numbered n
RETURNING id

-- name: insert
-- One that was serialized; `same`: with its data object's value.
INSERT INTO stored_object (id, project_id, parent_id, version, kind, owner, metadata, mimetype, encoding, fields,
    value, value_file, size_bytes, sha256, same_value, expires_at)
SELECT %(id)s, o.project_id, o.id, %(version)s, o.kind, o.owner, %(metadata)s::jsonb - %(not_of_versions)s::text[],
    %(mimetype)s, %(encoding)s, %(fields)s, v.*, %(same)s,
    clock_timestamp() + make_interval(secs => %(age)s)
FROM stored_object o, LATERAL (
    SELECT o.value, o.value_file, o.size_bytes, o.sha256 WHERE %(same)s
    UNION ALL
    SELECT %(value)s, %(value_file)s, %(size_bytes)s, %(sha256)s WHERE NOT %(same)s
) v
WHERE o.id = %(parent)s

-- name: expire
-- Where nothing more is versioned all is kept.
{below}
UPDATE stored_object v SET expires_at = v.created_at + CASE WHEN ruled.level <> '' THEN ruled.age END
FROM ruled WHERE v.parent_id = ruled.id AND v.version IS NOT NULL
    AND v.expires_at IS DISTINCT FROM v.created_at + CASE WHEN ruled.level <> '' THEN ruled.age END

-- name: surplus
-- Those beyond what is to be retained, the oldest first.
{below}
SELECT past.parent_id, past.id FROM (
    SELECT v.parent_id, v.id, v.version, v.expires_at, ruled.most, ruled.size, row_number() OVER newer AS number,
        sum(v.size_bytes) OVER newer AS bytes
    FROM ruled
    JOIN stored_object o ON o.id = ruled.id
    JOIN stored_object v ON v.parent_id = o.id AND v.version < o.current_version
    WHERE ruled.level <> ''
    WINDOW newer AS (PARTITION BY v.parent_id ORDER BY v.version DESC)
) past
WHERE past.number > past.most OR past.bytes > past.size OR past.expires_at <= clock_timestamp()
ORDER BY past.parent_id, past.version

-- name: delete
DELETE FROM stored_object WHERE id = ANY(%(ids)s) RETURNING value_file

-- name: part
-- The data object has another value now.
UPDATE stored_object SET same_value = false WHERE parent_id = %(id)s AND version IS NOT NULL AND same_value

-- name: rejoin
-- The data object has the version's value again.
UPDATE stored_object SET same_value = true WHERE id = %(id)s

-- name: set_current
UPDATE stored_object SET current_version = %(version)s WHERE id = %(id)s

-- name: all
SELECT v.id FROM stored_object v WHERE v.parent_id = %(id)s AND v.version IS NOT NULL ORDER BY v.version DESC

-- name: next_expired
SELECT v.id, v.parent_id, p.id, p.name
FROM stored_object v JOIN stored_object o ON o.id = v.parent_id JOIN project p ON p.id = v.project_id
WHERE v.expires_at <= clock_timestamp() AND v.version < o.current_version
ORDER BY v.expires_at LIMIT 1

-- name: put_off
UPDATE stored_object SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s) WHERE id = %(id)s
