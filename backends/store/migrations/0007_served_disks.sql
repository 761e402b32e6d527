-- Disks that a storage host serves to others by iSCSI, and who may log in to them.
-- depends: 0006_console_password

ALTER TABLE host
    ADD COLUMN pool text NOT NULL DEFAULT 'file' CHECK (pool IN ('file', 'iscsi')),
    ADD COLUMN portal text CHECK (portal ~ '^.+:[0-9]+$');
COMMENT ON COLUMN host.pool IS 'how its disks are reached: from itself alone as files, or from everywhere';
COMMENT ON COLUMN host.portal IS 'ADDRESS:PORT at which others reach its targets';

ALTER TABLE disk
    ADD COLUMN pool text NOT NULL DEFAULT 'file' CHECK (pool IN ('file', 'iscsi')),
    ADD COLUMN target_identifier text,
    ADD COLUMN logical_unit_name text,
    ADD COLUMN restricted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN disk.target_identifier IS 'as its storage host has told it, once it is served';
COMMENT ON COLUMN disk.restricted IS 'only machines with a permit may have it';

CREATE TABLE disk_grant (
    id uuid PRIMARY KEY,
    disk_id uuid NOT NULL REFERENCES disk,
    attachment_id uuid UNIQUE REFERENCES attachment ON DELETE CASCADE,
    initiator text NOT NULL,
    secret text NOT NULL,
    served boolean NOT NULL DEFAULT false,
    UNIQUE (disk_id, initiator)
);
COMMENT ON TABLE disk_grant IS 'an initiator that may log in: an attachment''s, or else one outside';
COMMENT ON COLUMN disk_grant.served IS 'its target knows it';

CREATE TABLE disk_permit (
    disk_id uuid NOT NULL REFERENCES disk ON DELETE CASCADE,
    machine_id uuid NOT NULL REFERENCES machine ON DELETE CASCADE,
    PRIMARY KEY (disk_id, machine_id)
);
COMMENT ON TABLE disk_permit IS 'the machines that may have a restricted disk';
