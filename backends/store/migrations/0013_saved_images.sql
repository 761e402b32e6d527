-- An image's name is unique in its project, or among the site's own; what is saved takes room on its host.
-- depends: 0012_power_pressed

DROP INDEX image_name;
CREATE UNIQUE INDEX image_name ON image (project_id, name) WHERE NOT deleting;
CREATE UNIQUE INDEX image_name_of_site ON image (name) WHERE project_id IS NULL AND NOT deleting;

-- One that failed has no file. Imported images are copied by whoever runs the cloud, who sees how full the disk is.
CREATE FUNCTION image_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.source_machine_id IS NOT NULL AND OLD.state <> 'error' THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes - OLD.size_bytes WHERE name = OLD.host;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.source_machine_id IS NOT NULL AND NEW.state <> 'error' THEN
        UPDATE host SET disk_taken_bytes = disk_taken_bytes + NEW.size_bytes WHERE name = NEW.host;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER image_comes_or_goes AFTER INSERT OR DELETE ON image
    FOR EACH ROW EXECUTE FUNCTION image_room();
CREATE TRIGGER image_room_changes AFTER UPDATE ON image FOR EACH ROW
    WHEN ((OLD.host, OLD.size_bytes, OLD.state = 'error') IS DISTINCT FROM (NEW.host, NEW.size_bytes, NEW.state = 'error'))
    EXECUTE FUNCTION image_room();

-- The trigger holds off other writers until this is committed; what is still being copied counts when it is ready.
UPDATE host SET disk_taken_bytes = disk_taken_bytes + (
    SELECT coalesce(sum(size_bytes), 0) FROM image
    WHERE image.host = host.name AND source_machine_id IS NOT NULL AND state <> 'error'
);
