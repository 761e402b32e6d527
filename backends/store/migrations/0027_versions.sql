-- Versions of data objects (CDMI 1.1.1 §23): stored objects without a name, whose parent is the data object.
-- depends: 0032_offered_networks

ALTER TABLE stored_object
    ADD COLUMN version bigint,
    ADD COLUMN current_version bigint,
    ADD COLUMN same_value boolean NOT NULL DEFAULT false,
    ADD COLUMN expires_at timestamptz,
    DROP CONSTRAINT stored_object_check,
    ADD CONSTRAINT stored_object_name CHECK ((name IS NOT NULL) = (parent_id IS NOT NULL AND version IS NULL)),
    ADD CONSTRAINT stored_object_version CHECK (version IS NULL OR parent_id IS NOT NULL);
CREATE UNIQUE INDEX stored_object_version ON stored_object (parent_id, version) WHERE version IS NOT NULL;
CREATE INDEX stored_object_expires ON stored_object (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON COLUMN stored_object.parent_id IS 'null: the root, whose id is the project''s, or reached by its ID only; of a version its data object';
COMMENT ON COLUMN stored_object.version IS 'of a version: its place among those of its data object; null: it is no version';
COMMENT ON COLUMN stored_object.current_version IS 'of a data object: the newest of its versions; null: it has none';
COMMENT ON COLUMN stored_object.same_value IS 'of a version: its value is the one its data object has, which is counted there';
COMMENT ON COLUMN stored_object.expires_at IS 'of a version: when it goes, if it isn''t the current one then';

CREATE FUNCTION user_items(metadata jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN (SELECT jsonb_object_agg(item.key, item.value) FROM jsonb_each(metadata) item WHERE NOT starts_with(item.key, 'cdmi_'));
COMMENT ON FUNCTION user_items IS 'the metadata items that are the user''s own';

-- A value that a data object shares with its current version counts once.
CREATE FUNCTION counted_bytes(size_bytes bigint, same_value boolean) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN same_value THEN 0 ELSE size_bytes END;

CREATE OR REPLACE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quota_change (project_id, resource, amount)
    SELECT q.project_id, q.resource,
        CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * CASE q.resource WHEN 'objects' THEN o.objects ELSE o.bytes END
    FROM (
        SELECT project_id, count(*) AS objects, sum(counted_bytes(size_bytes, same_value))::bigint AS bytes FROM counted
        WHERE is_counted(id, parent_id, project_id, name) GROUP BY project_id
    ) o
    JOIN quota q ON q.project_id = o.project_id AND q.resource IN ('objects', 'object_bytes');
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION count_object_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM change_quota(NEW.project_id, 'object_bytes',
        counted_bytes(NEW.size_bytes, NEW.same_value) - counted_bytes(OLD.size_bytes, OLD.same_value));
    RETURN NULL;
END
$$;
DROP TRIGGER object_grows ON stored_object;
CREATE TRIGGER object_grows AFTER UPDATE ON stored_object FOR EACH ROW
    WHEN ((OLD.size_bytes, OLD.same_value) IS DISTINCT FROM (NEW.size_bytes, NEW.same_value))
    EXECUTE FUNCTION count_object_bytes();
