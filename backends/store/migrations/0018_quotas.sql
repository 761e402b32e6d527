-- What a project may have at most. What counts is counted from the moment a limit is set, by triggers, whoever changes
-- it and however; what exceeds a limit is refused at commit. Only there, after all else, are the counts locked, in one
-- order, so that nobody who holds one waits for anything.
-- depends: 0017_policies

CREATE TABLE quota (
    project_id uuid NOT NULL REFERENCES project,
    resource text NOT NULL,
    most bigint NOT NULL CHECK (most >= 0),
    used bigint NOT NULL,
    PRIMARY KEY (project_id, resource)
);

CREATE UNLOGGED TABLE quota_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    resource text NOT NULL,
    amount bigint NOT NULL
);
COMMENT ON TABLE quota_change IS 'what transactions under way have changed; empty for everybody else';
CREATE INDEX stored_object_of_project ON stored_object (project_id);

-- A transaction's first change settles them all. Its number leads past what others have left and is not vacuumed yet.
CREATE FUNCTION settle_quota() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    exceeded record;
BEGIN
    PERFORM FROM quota WHERE project_id = NEW.project_id ORDER BY resource FOR UPDATE;
    WITH gone AS (
        DELETE FROM quota_change WHERE id >= NEW.id AND project_id = NEW.project_id RETURNING resource, amount
    ), change AS (
        SELECT resource, sum(amount)::bigint AS amount FROM gone GROUP BY resource HAVING sum(amount) <> 0
    ), counted AS (
        UPDATE quota SET used = used + change.amount FROM change
        WHERE quota.project_id = NEW.project_id AND quota.resource = change.resource
        RETURNING quota.resource, quota.most, quota.used, change.amount
    )
    SELECT counted.*, project.name INTO exceeded FROM counted, project
    WHERE project.id = NEW.project_id AND counted.amount > 0 AND counted.used > counted.most
    ORDER BY counted.resource LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'AS001', MESSAGE = 'a quota is exceeded', DETAIL = json_build_array(
            exceeded.name, exceeded.resource, exceeded.most, exceeded.used - exceeded.amount, exceeded.amount);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER quota_changes AFTER INSERT ON quota_change DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION settle_quota();

CREATE FUNCTION change_quota(project uuid, changed text, amount bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO quota_change (project_id, resource, amount)
    SELECT q.project_id, q.resource, $3 FROM quota q WHERE q.project_id = $1 AND q.resource = $2 AND $3 <> 0
$$;

-- Objects: all that users make, but not the two containers that each project begins with.
CREATE FUNCTION is_counted(id uuid, parent_id uuid, project_id uuid, name text) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN id <> project_id AND (parent_id, name) IS DISTINCT FROM (project_id, 'disks');

CREATE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quota_change (project_id, resource, amount)
    SELECT q.project_id, q.resource,
        CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * CASE q.resource WHEN 'objects' THEN o.objects ELSE o.bytes END
    FROM (
        SELECT project_id, count(*) AS objects, sum(size_bytes)::bigint AS bytes FROM counted
        WHERE is_counted(id, parent_id, project_id, name) GROUP BY project_id
    ) o
    JOIN quota q ON q.project_id = o.project_id AND q.resource IN ('objects', 'object_bytes');
    RETURN NULL;
END
$$;
CREATE TRIGGER objects_come AFTER INSERT ON stored_object REFERENCING NEW TABLE AS counted
    FOR EACH STATEMENT EXECUTE FUNCTION count_objects();
CREATE TRIGGER objects_go AFTER DELETE ON stored_object REFERENCING OLD TABLE AS counted
    FOR EACH STATEMENT EXECUTE FUNCTION count_objects();

CREATE FUNCTION count_object_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM change_quota(NEW.project_id, 'object_bytes', NEW.size_bytes - OLD.size_bytes);
    RETURN NULL;
END
$$;
CREATE TRIGGER object_grows AFTER UPDATE ON stored_object FOR EACH ROW
    WHEN (OLD.size_bytes IS DISTINCT FROM NEW.size_bytes) EXECUTE FUNCTION count_object_bytes();

-- A queue's size is that of the values in it.
CREATE FUNCTION queue_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stored_object SET size_bytes = size_bytes + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * q.bytes
    FROM (SELECT queue_id, sum(octet_length(value)) AS bytes FROM counted GROUP BY queue_id) q
    WHERE id = q.queue_id;
    RETURN NULL;
END
$$;
UPDATE stored_object SET size_bytes = q.bytes
FROM (SELECT queue_id, sum(octet_length(value)) AS bytes FROM queue_value GROUP BY queue_id) q WHERE id = q.queue_id;
CREATE TRIGGER queue_values_come AFTER INSERT ON queue_value REFERENCING NEW TABLE AS counted
    FOR EACH STATEMENT EXECUTE FUNCTION queue_bytes();
CREATE TRIGGER queue_values_go AFTER DELETE ON queue_value REFERENCING OLD TABLE AS counted
    FOR EACH STATEMENT EXECUTE FUNCTION queue_bytes();

CREATE FUNCTION count_disks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND NOT OLD.deleting THEN
        PERFORM change_quota(OLD.project_id, 'disks', -1), change_quota(OLD.project_id, 'disk_bytes', -OLD.size_bytes);
    END IF;
    IF TG_OP <> 'DELETE' AND NOT NEW.deleting THEN
        PERFORM change_quota(NEW.project_id, 'disks', 1), change_quota(NEW.project_id, 'disk_bytes', NEW.size_bytes);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER disk_counts AFTER INSERT OR DELETE ON disk FOR EACH ROW EXECUTE FUNCTION count_disks();
CREATE TRIGGER disk_count_changes AFTER UPDATE ON disk FOR EACH ROW
    WHEN ((OLD.deleting, OLD.size_bytes) IS DISTINCT FROM (NEW.deleting, NEW.size_bytes))
    EXECUTE FUNCTION count_disks();

CREATE FUNCTION count_machines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND NOT OLD.deleting THEN
        PERFORM change_quota(OLD.project_id, 'machines', -1), change_quota(OLD.project_id, 'cores', -OLD.cores),
            change_quota(OLD.project_id, 'memory_mib', -OLD.memory_mib),
            change_quota(OLD.project_id, 'disk_bytes', -coalesce(OLD.root_size_bytes, 0));
    END IF;
    IF TG_OP <> 'DELETE' AND NOT NEW.deleting THEN
        PERFORM change_quota(NEW.project_id, 'machines', 1), change_quota(NEW.project_id, 'cores', NEW.cores),
            change_quota(NEW.project_id, 'memory_mib', NEW.memory_mib),
            change_quota(NEW.project_id, 'disk_bytes', coalesce(NEW.root_size_bytes, 0));
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER machine_counts AFTER INSERT OR DELETE ON machine FOR EACH ROW EXECUTE FUNCTION count_machines();
CREATE TRIGGER machine_count_changes AFTER UPDATE ON machine FOR EACH ROW
    WHEN ((OLD.deleting, OLD.cores, OLD.memory_mib, OLD.root_size_bytes)
        IS DISTINCT FROM (NEW.deleting, NEW.cores, NEW.memory_mib, NEW.root_size_bytes))
    EXECUTE FUNCTION count_machines();

-- Of networks and images the cloud's own have no project, hence no quota.
CREATE FUNCTION count_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND NOT OLD.deleting THEN
        PERFORM change_quota(OLD.project_id, TG_ARGV[0], -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NOT NEW.deleting THEN
        PERFORM change_quota(NEW.project_id, TG_ARGV[0], 1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER network_counts AFTER INSERT OR DELETE ON network
    FOR EACH ROW EXECUTE FUNCTION count_one('networks');
CREATE TRIGGER network_count_changes AFTER UPDATE ON network FOR EACH ROW
    WHEN (OLD.deleting IS DISTINCT FROM NEW.deleting) EXECUTE FUNCTION count_one('networks');
CREATE TRIGGER image_counts AFTER INSERT OR DELETE ON image
    FOR EACH ROW EXECUTE FUNCTION count_one('images');
CREATE TRIGGER image_count_changes AFTER UPDATE ON image FOR EACH ROW
    WHEN (OLD.deleting IS DISTINCT FROM NEW.deleting) EXECUTE FUNCTION count_one('images');

-- Addresses of the network that all share, for as long as an interface holds one.
CREATE FUNCTION count_addresses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM change_quota(OLD.project_id, 'addresses', -1) FROM network WHERE id = OLD.network_id AND shared;
    ELSE
        PERFORM change_quota(NEW.project_id, 'addresses', 1) FROM network WHERE id = NEW.network_id AND shared;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER interface_counts AFTER INSERT OR DELETE ON interface
    FOR EACH ROW EXECUTE FUNCTION count_addresses();
