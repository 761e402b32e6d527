-- What is taken of each host, kept with every row that takes it: choosing a host reads sums, not all machines.
-- depends: 0003_measurement

ALTER TABLE host
    ADD COLUMN cores_taken bigint NOT NULL DEFAULT 0,
    ADD COLUMN memory_taken_mib bigint NOT NULL DEFAULT 0,
    ADD COLUMN disk_taken_bytes bigint NOT NULL DEFAULT 0;

CREATE FUNCTION machine_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.host IS NOT NULL THEN
        UPDATE host SET
            cores_taken = cores_taken - CASE WHEN OLD.admitted THEN OLD.cores ELSE 0 END,
            memory_taken_mib = memory_taken_mib - CASE WHEN OLD.admitted THEN OLD.memory_mib ELSE 0 END,
            disk_taken_bytes = disk_taken_bytes - coalesce(OLD.root_size_bytes, 0)
        WHERE name = OLD.host;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.host IS NOT NULL THEN
        UPDATE host SET
            cores_taken = cores_taken + CASE WHEN NEW.admitted THEN NEW.cores ELSE 0 END,
            memory_taken_mib = memory_taken_mib + CASE WHEN NEW.admitted THEN NEW.memory_mib ELSE 0 END,
            disk_taken_bytes = disk_taken_bytes + coalesce(NEW.root_size_bytes, 0)
        WHERE name = NEW.host;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION disk_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.host IS NOT NULL THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes - OLD.size_bytes WHERE name = OLD.host;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.host IS NOT NULL THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes + NEW.size_bytes WHERE name = NEW.host;
    END IF;
    RETURN NULL;
END
$$;

-- Only a change of what counts touches the host's row, which is everybody's.
CREATE TRIGGER machine_comes_or_goes AFTER INSERT OR DELETE ON machine
    FOR EACH ROW EXECUTE FUNCTION machine_room();
CREATE TRIGGER machine_room_changes AFTER UPDATE ON machine FOR EACH ROW
    WHEN ((OLD.host, OLD.admitted, OLD.cores, OLD.memory_mib, OLD.root_size_bytes)
        IS DISTINCT FROM (NEW.host, NEW.admitted, NEW.cores, NEW.memory_mib, NEW.root_size_bytes))
    EXECUTE FUNCTION machine_room();
CREATE TRIGGER disk_comes_or_goes AFTER INSERT OR DELETE ON disk
    FOR EACH ROW EXECUTE FUNCTION disk_room();
CREATE TRIGGER disk_room_changes AFTER UPDATE ON disk FOR EACH ROW
    WHEN ((OLD.host, OLD.size_bytes) IS DISTINCT FROM (NEW.host, NEW.size_bytes))
    EXECUTE FUNCTION disk_room();

-- The triggers hold off other writers until this is committed, so nothing is missed or counted twice.
UPDATE host SET
    cores_taken = (SELECT coalesce(sum(cores), 0) FROM machine WHERE host = name AND admitted),
    memory_taken_mib = (SELECT coalesce(sum(memory_mib), 0) FROM machine WHERE host = name AND admitted),
    disk_taken_bytes = (SELECT coalesce(sum(root_size_bytes), 0) FROM machine WHERE host = name)
        + (SELECT coalesce(sum(size_bytes), 0) FROM disk WHERE host = name);

DROP INDEX machine_room;
