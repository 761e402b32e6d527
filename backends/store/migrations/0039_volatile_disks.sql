-- Disks that end with the machine that has them.
-- depends: 0038_one_clock

ALTER TABLE disk ADD COLUMN volatile boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT disk_has_one_machine CHECK (NOT (volatile AND read_only));
COMMENT ON COLUMN disk.volatile IS 'deleted with the machine that it is attached to then; not one that many have';
