-- The bytes of disks, which CDMI shows as a data object in each: read while the agent has them open as a file, and
-- written by the agent, from a file that holds what is to be written until it is.
-- depends: 0013_saved_images

ALTER TABLE disk
    ADD COLUMN value_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN open_until timestamptz,
    ADD COLUMN open_message text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX disk_value ON disk (value_id);
COMMENT ON COLUMN disk.value_id IS 'of the data object that its bytes are';
COMMENT ON COLUMN disk.open_until IS 'as long as this, its agent keeps it open for who reads; null: it is closed';
COMMENT ON COLUMN disk.open_message IS 'why it could not be opened';

CREATE TABLE disk_write (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    disk_id uuid NOT NULL REFERENCES disk ON DELETE CASCADE,
    value_file uuid NOT NULL,
    size_bytes bigint NOT NULL,
    first_byte bigint,
    format text NOT NULL CHECK (format IN ('raw', 'qcow2')),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'refused', 'full')),
    message text NOT NULL DEFAULT '',
    kept boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX disk_write_pending ON disk_write (disk_id) WHERE state = 'pending';
CREATE INDEX disk_write_of_disk ON disk_write (disk_id, sequence);
COMMENT ON COLUMN disk_write.first_byte IS 'where it goes; null: it is a whole image, which replaces what there was';
COMMENT ON COLUMN disk_write.kept IS 'its file may still be there';
