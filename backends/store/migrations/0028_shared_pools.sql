-- Disks in a folder of a file system that several hosts have mounted: any of these hosts may have one, one at a time.
-- depends: 0032_offered_networks

CREATE TABLE shared_pool (
    id uuid PRIMARY KEY,
    disk_bytes bigint NOT NULL DEFAULT 0,
    disk_taken_bytes bigint NOT NULL DEFAULT 0,
    is_full boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN shared_pool.id IS 'stands in a file of the folder too, so that nothing else passes for it';
COMMENT ON COLUMN shared_pool.disk_bytes IS 'what it offers, overcommitment included, as its hosts tell: it counts once';

ALTER TABLE host ADD COLUMN shared_pool uuid REFERENCES shared_pool;
COMMENT ON COLUMN host.shared_pool IS 'the one whose folder is mounted there now';

ALTER TABLE disk
    ADD COLUMN shared_pool uuid REFERENCES shared_pool,
    ADD COLUMN next_host text REFERENCES host,
    DROP CONSTRAINT disk_pool_check,
    ADD CONSTRAINT disk_pool_check CHECK (pool IN ('file', 'iscsi', 'shared')),
    ADD CONSTRAINT disk_shared CHECK (CASE WHEN pool = 'shared' THEN (host IS NULL) = (shared_pool IS NULL)
        ELSE shared_pool IS NULL AND next_host IS NULL END);
CREATE INDEX disk_of_shared_pool ON disk (shared_pool) WHERE shared_pool IS NOT NULL;
COMMENT ON COLUMN disk.host IS 'whose agent alone works on it; that of a shared pool''s changes';
COMMENT ON COLUMN disk.next_host IS 'the host that asks for it: the present one lets go of it when it can';

CREATE OR REPLACE FUNCTION disk_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.shared_pool IS NOT NULL THEN
        UPDATE shared_pool SET disk_taken_bytes = disk_taken_bytes - OLD.size_bytes WHERE id = OLD.shared_pool;
    ELSIF TG_OP <> 'INSERT' AND OLD.host IS NOT NULL THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes - OLD.size_bytes WHERE name = OLD.host;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.shared_pool IS NOT NULL THEN
        UPDATE shared_pool SET disk_taken_bytes = disk_taken_bytes + NEW.size_bytes WHERE id = NEW.shared_pool;
    ELSIF TG_OP <> 'DELETE' AND NEW.host IS NOT NULL THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes + NEW.size_bytes WHERE name = NEW.host;
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER disk_room_changes ON disk;
CREATE TRIGGER disk_room_changes AFTER UPDATE ON disk FOR EACH ROW
    WHEN ((coalesce(OLD.shared_pool::text, OLD.host), OLD.size_bytes)
        IS DISTINCT FROM (coalesce(NEW.shared_pool::text, NEW.host), NEW.size_bytes))
    EXECUTE FUNCTION disk_room();

-- What its networks and disks tie a machine to: a host, and a shared folder that its host must have.
CREATE FUNCTION tied_host(machine uuid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT min(n.host) FROM interface i JOIN network n ON n.id = i.network_id JOIN host h ON h.name = n.host
         WHERE i.machine_id = $1 AND h.tunnel_address IS NULL AND n.vlan IS NULL),
        (SELECT min(d.host) FROM attachment a JOIN disk d ON d.id = a.disk_id
         WHERE a.machine_id = $1 AND d.pool = 'file')
    )
$$;
CREATE FUNCTION tied_pool(machine uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT min(d.shared_pool::text)::uuid FROM attachment a JOIN disk d ON d.id = a.disk_id WHERE a.machine_id = $1
$$;
