-- Security groups: what their members may get and send, and which machines are members.
-- depends: 0002_cloud

CREATE TABLE security_group (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    title text,
    summary text,
    rules jsonb NOT NULL,
    is_default boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'active',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX security_group_default ON security_group (project_id) WHERE is_default;
CREATE INDEX security_group_of_project ON security_group (project_id, sequence);
COMMENT ON COLUMN security_group.rules IS 'a list of [direction, protocol, first port, last port, subnet, group]';
COMMENT ON COLUMN security_group.is_default IS 'it is that of the machines of its project that have no other';

CREATE TABLE group_link (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    machine_id uuid NOT NULL REFERENCES machine ON DELETE CASCADE,
    group_id uuid NOT NULL REFERENCES security_group,
    title text,
    state text NOT NULL DEFAULT 'active',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    UNIQUE (machine_id, group_id)
);
CREATE INDEX group_link_of_project ON group_link (project_id, sequence);
CREATE INDEX group_link_of_group ON group_link (group_id);

CREATE FUNCTION make_default_group() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own uuid := gen_random_uuid();
BEGIN
    INSERT INTO security_group (id, project_id, title, summary, is_default, rules)
    VALUES (own, NEW.id, 'default', 'Of every compute that is in no other: members reach each other, others SSH and ping',
        true, jsonb_build_array(
            jsonb_build_array('out', null, null, null, null, null),
            jsonb_build_array('in', null, null, null, null, own),
            jsonb_build_array('in', 'tcp', 22, 22, null, null),
            jsonb_build_array('in', 'icmp', null, null, null, null)));
    RETURN NEW;
END
$$;
CREATE TRIGGER default_group AFTER INSERT ON project FOR EACH ROW EXECUTE FUNCTION make_default_group();

INSERT INTO security_group (id, project_id, title, summary, is_default, rules)
SELECT own, project_id, 'default', 'Of every compute that is in no other: members reach each other, others SSH and ping',
    true, jsonb_build_array(
        jsonb_build_array('out', null, null, null, null, null),
        jsonb_build_array('in', null, null, null, null, own),
        jsonb_build_array('in', 'tcp', 22, 22, null, null),
        jsonb_build_array('in', 'icmp', null, null, null, null))
FROM (SELECT gen_random_uuid() AS own, id AS project_id FROM project) AS made;

CREATE VIEW interface_groups AS
SELECT i.id AS interface_id, i.network_id, lower(i.mac) AS mac, m.id AS machine_id, m.project_id, m.host,
    coalesce((SELECT array_agg(l.group_id ORDER BY l.group_id) FROM group_link l WHERE l.machine_id = m.id),
        (SELECT ARRAY[g.id] FROM security_group g WHERE g.project_id = m.project_id AND g.is_default)) AS group_ids
FROM interface i JOIN machine m ON m.id = i.machine_id
WHERE NOT i.deleting AND NOT m.deleting;
