-- A served disk that a host has to itself: to write its image to it, as before, or because its bytes are read or
-- written by CDMI; and how far what is written to a disk has come.
-- depends: 0028_shared_pools 0035_names_on_hosts

ALTER TABLE disk_filling RENAME TO disk_lease;
ALTER TABLE disk_lease ADD COLUMN served boolean NOT NULL DEFAULT false;
COMMENT ON TABLE disk_lease IS
    'the host that has a served disk to itself: until its image is on it, or for as long as its bytes are read or written';
COMMENT ON COLUMN disk_lease.served IS 'its target knows it';

ALTER TABLE disk_write ADD COLUMN percent smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN disk_write.percent IS 'how far it has come, while it is pending';
