-- Queues that the cloud fills.

-- name: start
INSERT INTO queue_feed (queue_id, project_id, account_id, kind, dialect, status)
VALUES (%(queue)s, %(project)s, %(account)s, %(kind)s, %(dialect)s, %(status)s)

-- name: stop
DELETE FROM queue_feed WHERE queue_id = %(queue)s

-- name: count
SELECT count(*) FROM queue_feed WHERE project_id = %(project)s

-- name: listeners
SELECT f.queue_id, f.dialect, q.metadata, a.id, a.name, p.id, p.name, a.role,
    q.next_position - coalesce((SELECT min(v.position) FROM queue_value v WHERE v.queue_id = q.id), q.next_position),
    (SELECT u.most - u.used FROM quota u WHERE u.project_id = f.project_id AND u.resource = 'object_bytes')
FROM queue_feed f
JOIN stored_object q ON q.id = f.queue_id
JOIN project p ON p.id = f.project_id
JOIN account a ON a.id = f.account_id AND a.project_id = f.project_id
WHERE f.project_id = %(project)s AND f.kind = 'notification' AND f.status = 'Current'
ORDER BY f.queue_id

-- name: next_query
-- Both rows or neither: whoever deletes the queue has its row first.
SELECT f.queue_id, f.dialect, q.metadata, f.account_id, a.name, p.id, p.name, a.role,
    q.next_position - coalesce((SELECT min(v.position) FROM queue_value v WHERE v.queue_id = q.id), q.next_position),
    (SELECT u.most - u.used FROM quota u WHERE u.project_id = f.project_id AND u.resource = 'object_bytes'),
    f.after
FROM queue_feed f
JOIN stored_object q ON q.id = f.queue_id
JOIN project p ON p.id = f.project_id
LEFT JOIN account a ON a.id = f.account_id AND a.project_id = f.project_id
WHERE f.kind = 'query' AND f.status = 'Processing'
    AND q.next_position - coalesce((SELECT min(v.position) FROM queue_value v WHERE v.queue_id = q.id), q.next_position)
        < %(most)s
ORDER BY f.looked_at LIMIT 1 FOR NO KEY UPDATE OF f, q SKIP LOCKED

-- name: progress
UPDATE queue_feed SET after = %(after)s, status = %(status)s, looked_at = clock_timestamp() WHERE queue_id = %(queue)s

-- name: status
UPDATE queue_feed SET status = %(status)s WHERE queue_id = %(queue)s

-- name: enqueue
WITH numbered AS (
    UPDATE stored_object SET next_position = next_position + cardinality(%(values)s::bytea[]),
        modified_at = clock_timestamp(), modifications = modifications + 1
    WHERE id = %(queue)s RETURNING next_position - cardinality(%(values)s::bytea[]) AS first
)
INSERT INTO queue_value (queue_id, position, mimetype, encoding, value)
SELECT %(queue)s, numbered.first + v.number - 1, 'application/json', 'json', v.value
FROM numbered, unnest(%(values)s::bytea[]) WITH ORDINALITY v (value, number)
