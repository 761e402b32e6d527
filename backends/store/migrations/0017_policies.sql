-- What is asked of stored objects and disks: hashes of values, and fields of disks that no standard defines.
-- depends: 0013_saved_images

ALTER TABLE stored_object ADD COLUMN sha256 bytea;
COMMENT ON COLUMN stored_object.sha256 IS 'of the value; null: not computed';
ALTER TABLE disk ADD COLUMN fields jsonb NOT NULL DEFAULT '{}';
