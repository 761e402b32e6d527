-- What each interface has received and sent, ever, and of the interfaces of each project that are gone, the sum.
-- depends: 0028_shared_pools 0035_names_on_hosts

CREATE TABLE traffic (
    interface_id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES project,
    host text NOT NULL REFERENCES host,
    received_bytes bigint NOT NULL DEFAULT 0,
    received_packets bigint NOT NULL DEFAULT 0,
    sent_bytes bigint NOT NULL DEFAULT 0,
    sent_packets bigint NOT NULL DEFAULT 0,
    boot text NOT NULL DEFAULT '',
    link integer NOT NULL DEFAULT 0,
    seen bigint[] NOT NULL DEFAULT '{0,0,0,0}'
);
CREATE INDEX traffic_of_host ON traffic (host);
CREATE INDEX traffic_of_project ON traffic (project_id);
COMMENT ON TABLE traffic IS 'a row outlives that of its interface until the tap has been read for the last time';
COMMENT ON COLUMN traffic.link IS 'the index of the tap that was read last, in that boot of the host';
COMMENT ON COLUMN traffic.seen IS 'what that tap itself had counted then: it is in the four counts already';

CREATE TABLE traffic_of_gone (
    project_id uuid PRIMARY KEY REFERENCES project,
    received_bytes bigint NOT NULL,
    received_packets bigint NOT NULL,
    sent_bytes bigint NOT NULL,
    sent_packets bigint NOT NULL
);

CREATE VIEW project_traffic AS
SELECT p.id AS project_id, p.name,
    coalesce(sum(t.received_bytes), 0)::bigint AS received_bytes,
    coalesce(sum(t.received_packets), 0)::bigint AS received_packets,
    coalesce(sum(t.sent_bytes), 0)::bigint AS sent_bytes,
    coalesce(sum(t.sent_packets), 0)::bigint AS sent_packets
FROM project p LEFT JOIN (
    SELECT project_id, received_bytes, received_packets, sent_bytes, sent_packets FROM traffic
    UNION ALL SELECT project_id, received_bytes, received_packets, sent_bytes, sent_packets FROM traffic_of_gone
) t ON t.project_id = p.id
GROUP BY p.id, p.name;

INSERT INTO traffic (interface_id, project_id, host)
SELECT i.id, i.project_id, m.host FROM interface i JOIN machine m ON m.id = i.machine_id WHERE m.host IS NOT NULL;
