-- Disks have a name in their project, for they are containers in CDMI's tree: below `disks`, which each root has.
-- depends: 0007_served_disks

ALTER TABLE disk
    ADD COLUMN name text COLLATE "C",
    ADD COLUMN shown_name text COLLATE "C" NOT NULL GENERATED ALWAYS AS (coalesce(name, id::text)) STORED,
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN disk.name IS 'null: it goes by its id';
COMMENT ON COLUMN disk.metadata IS 'CDMI''s user metadata';
CREATE UNIQUE INDEX disk_name ON disk (project_id, shown_name) WHERE NOT deleting;

INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner)
SELECT gen_random_uuid(), project_id, id, 'disks', 'container', '' FROM stored_object WHERE id = project_id
ON CONFLICT DO NOTHING;
