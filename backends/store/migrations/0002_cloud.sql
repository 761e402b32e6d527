-- What should be and what is. Each resource has its wanted fields and a generation that every change raises;
-- the agent writes state, state_message and the generation it has seen through.
-- depends: 0001_jobs

CREATE TABLE cloud (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    tag text NOT NULL CHECK (tag ~ '^as[0-9a-f]{4}$')
);

CREATE TABLE project (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    project_id uuid NOT NULL REFERENCES project,
    role text NOT NULL CHECK (role IN ('user', 'project_admin', 'cloud_admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE host (
    name text PRIMARY KEY,
    cores integer NOT NULL,
    memory_mib bigint NOT NULL,
    disk_bytes bigint NOT NULL,
    domain_type text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE image (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    title text NOT NULL,
    project_id uuid REFERENCES project,
    format text NOT NULL DEFAULT 'qcow2',
    size_bytes bigint NOT NULL DEFAULT 0,
    sha256 text NOT NULL DEFAULT '',
    source_machine_id uuid,
    save_method text,
    host text REFERENCES host,
    state text NOT NULL DEFAULT 'pending',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX image_name ON image (name) WHERE NOT deleting;

CREATE TABLE machine (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    title text,
    summary text,
    hostname text,
    architecture text NOT NULL,
    cores integer NOT NULL CHECK (cores > 0),
    memory_mib integer NOT NULL CHECK (memory_mib > 0),
    share integer,
    root_size_bytes bigint,
    image_id uuid REFERENCES image,
    size_name text,
    ssh_key text,
    user_data text,
    wanted text NOT NULL,
    stop_method text NOT NULL DEFAULT 'graceful',
    suspend_method text NOT NULL DEFAULT 'suspend',
    restart_method text NOT NULL DEFAULT 'graceful',
    boots_wanted integer NOT NULL DEFAULT 0,
    boots_done integer NOT NULL DEFAULT 0,
    asked_to_stop_at timestamptz,
    root_image_id uuid,
    host text REFERENCES host,
    admitted boolean NOT NULL DEFAULT false,
    generation bigint NOT NULL DEFAULT 1,
    observed_generation bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'inactive',
    state_message text NOT NULL DEFAULT '',
    console text,
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX machine_of_project ON machine (project_id, sequence) WHERE NOT deleting;
CREATE INDEX machine_in_order ON machine (sequence) WHERE NOT deleting;
CREATE INDEX machine_room ON machine (host) INCLUDE (cores, memory_mib) WHERE admitted;
CREATE INDEX machine_disk_room ON machine (host) INCLUDE (root_size_bytes);
CREATE INDEX machine_waiting ON machine (sequence) WHERE NOT admitted AND wanted = 'active' AND NOT deleting;
COMMENT ON COLUMN machine.admitted IS 'its cores and memory count on its host';
COMMENT ON COLUMN machine.root_image_id IS 'the image that its present root disk was made from';

CREATE TABLE network (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid REFERENCES project,
    title text,
    summary text,
    label text,
    vlan integer,
    cidr text,
    gateway text,
    allocation text NOT NULL,
    shared boolean NOT NULL DEFAULT false,
    wanted text NOT NULL DEFAULT 'active',
    host text REFERENCES host,
    generation bigint NOT NULL DEFAULT 1,
    observed_generation bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'inactive',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX network_shared ON network (shared) WHERE shared;
CREATE INDEX network_of_project ON network (project_id, sequence) WHERE NOT deleting;

CREATE TABLE disk (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    title text,
    summary text,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    image_id uuid REFERENCES image,
    source_disk_id uuid,
    host text REFERENCES host,
    wanted text NOT NULL DEFAULT 'online',
    generation bigint NOT NULL DEFAULT 1,
    observed_generation bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'offline',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX disk_of_project ON disk (project_id, sequence) WHERE NOT deleting;
COMMENT ON COLUMN disk.source_disk_id IS 'the disk it is to be a copy of, until the copy is made';

CREATE TABLE interface (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    machine_id uuid NOT NULL REFERENCES machine,
    network_id uuid NOT NULL REFERENCES network,
    title text,
    name text NOT NULL,
    mac text NOT NULL,
    address inet,
    gateway text,
    allocation text NOT NULL,
    state text NOT NULL DEFAULT 'inactive',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    UNIQUE (network_id, address),
    UNIQUE (network_id, mac),
    UNIQUE (machine_id, name)
);
CREATE INDEX interface_of_project ON interface (project_id, sequence) WHERE NOT deleting;

CREATE TABLE attachment (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    machine_id uuid NOT NULL REFERENCES machine,
    disk_id uuid NOT NULL UNIQUE REFERENCES disk,
    title text,
    device text NOT NULL,
    mount_point text,
    state text NOT NULL DEFAULT 'inactive',
    state_message text NOT NULL DEFAULT '',
    deleting boolean NOT NULL DEFAULT false,
    UNIQUE (machine_id, device)
);
CREATE INDEX attachment_of_project ON attachment (project_id, sequence) WHERE NOT deleting;

CREATE TABLE tag (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES project,
    scheme text NOT NULL,
    term text NOT NULL,
    title text NOT NULL,
    location text NOT NULL,
    related text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, scheme, term),
    UNIQUE (project_id, location)
);

CREATE TABLE tagging (
    tag_id uuid NOT NULL REFERENCES tag ON DELETE CASCADE,
    resource_id uuid NOT NULL,
    PRIMARY KEY (tag_id, resource_id)
);
CREATE INDEX tagging_of_resource ON tagging (resource_id);

CREATE TABLE console_log (
    machine_id uuid PRIMARY KEY REFERENCES machine ON DELETE CASCADE,
    tail bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
