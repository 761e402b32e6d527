-- What is stored through CDMI: each project's tree of containers, data objects, queues and references.
-- depends: 0004_host_room

CREATE TABLE stored_object (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES project,
    parent_id uuid REFERENCES stored_object,
    name text COLLATE "C",
    kind text NOT NULL CHECK (kind IN ('container', 'dataobject', 'queue', 'reference')),
    owner text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    mimetype text,
    encoding text,
    completion text NOT NULL DEFAULT 'Complete',
    target text,
    value bytea,
    value_file uuid,
    size_bytes bigint NOT NULL DEFAULT 0,
    written int8multirange,
    next_position bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    modified_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    modifications bigint NOT NULL DEFAULT 0,
    UNIQUE (parent_id, name),
    CHECK ((parent_id IS NULL) = (name IS NULL))
);
CREATE INDEX stored_object_value_file ON stored_object (value_file) WHERE value_file IS NOT NULL;
COMMENT ON COLUMN stored_object.parent_id IS 'null: the root, whose id is the project''s, or reached by its ID only';
COMMENT ON COLUMN stored_object.value_file IS 'the file with the value; null: the value stands in the row';
COMMENT ON COLUMN stored_object.written IS 'the bytes ever written, where there are gaps; null: all of them';
COMMENT ON COLUMN stored_object.next_position IS 'of a queue: the number of the next value';

CREATE TABLE queue_value (
    queue_id uuid NOT NULL REFERENCES stored_object ON DELETE CASCADE,
    position bigint NOT NULL,
    mimetype text NOT NULL,
    encoding text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (queue_id, position)
);
