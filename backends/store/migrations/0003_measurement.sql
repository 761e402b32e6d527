-- What each running machine has used since its start, as its host's agent measured it last.
-- depends: 0002_cloud

CREATE TABLE measurement (
    machine_id uuid PRIMARY KEY REFERENCES machine ON DELETE CASCADE,
    measured_at timestamptz NOT NULL DEFAULT now(),
    cpu_seconds double precision NOT NULL,
    memory_resident_mib integer,
    disk_read_bytes bigint NOT NULL,
    disk_written_bytes bigint NOT NULL,
    network_received_bytes bigint NOT NULL,
    network_sent_bytes bigint NOT NULL
);
