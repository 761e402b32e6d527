-- Who made a disk: OWNER@ of the access list that it has from the container `disks`.
-- depends: 0032_offered_networks 0029_disk_leases

ALTER TABLE disk ADD COLUMN owner text NOT NULL DEFAULT '';
COMMENT ON COLUMN disk.owner IS 'the name of the user who made it; of those made before names were kept, nobody';
