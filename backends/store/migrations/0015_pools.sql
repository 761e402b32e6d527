-- Disks that many machines read, disks that another host writes an image to, and pools that are full.
-- depends: 0013_saved_images

ALTER TABLE host ADD COLUMN is_full boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN host.is_full IS 'nothing new goes there, whatever its disks were promised';

ALTER TABLE disk ADD COLUMN read_only boolean NOT NULL DEFAULT false;
ALTER TABLE attachment ADD COLUMN read_only boolean NOT NULL DEFAULT false;
ALTER TABLE attachment DROP CONSTRAINT attachment_disk_id_key;
CREATE UNIQUE INDEX attachment_writes ON attachment (disk_id) WHERE NOT read_only;
CREATE UNIQUE INDEX attachment_once ON attachment (disk_id, machine_id);
COMMENT ON COLUMN disk.read_only IS 'nobody writes to it, so any number of machines may have it';
COMMENT ON COLUMN attachment.read_only IS 'as its disk, which can''t change while it is attached';

CREATE TABLE disk_filling (
    disk_id uuid PRIMARY KEY REFERENCES disk ON DELETE CASCADE,
    host text NOT NULL REFERENCES host,
    initiator text NOT NULL,
    secret text NOT NULL
);
COMMENT ON TABLE disk_filling IS 'the host that is to write its image to a served disk, until that is done';
