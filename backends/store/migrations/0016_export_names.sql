-- Exports of disks have names of the client's own in CDMI 2.0.
-- depends: 0013_saved_images

ALTER TABLE disk ADD COLUMN export_names jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN disk.export_names IS 'by protocol; one that isn''t here goes by its protocol';
