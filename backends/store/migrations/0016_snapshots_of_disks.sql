-- A snapshot is a disk that belongs to another, has its name below that one, and doesn't change.
-- depends: 0016_export_names

ALTER TABLE disk ADD COLUMN snapshot_of uuid REFERENCES disk ON DELETE SET NULL;
COMMENT ON COLUMN disk.source_disk_id IS
    'the disk it is to be a copy of, until the copy is made; of one that was made before, what it is to be replaced by';

DROP INDEX disk_name;
CREATE UNIQUE INDEX disk_name ON disk (project_id, shown_name) WHERE NOT deleting AND snapshot_of IS NULL;
CREATE UNIQUE INDEX disk_snapshot_name ON disk (snapshot_of, shown_name) WHERE NOT deleting;
CREATE INDEX disk_source ON disk (source_disk_id) WHERE source_disk_id IS NOT NULL;
