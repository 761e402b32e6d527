-- Reserved addresses: what an interface would have on a network, kept for a project whether a machine has it or not.
-- depends: 0018_public_addresses 0032_offered_networks

CREATE TABLE reservation (
    id uuid PRIMARY KEY,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES project,
    network_id uuid NOT NULL REFERENCES network,
    title text,
    summary text,
    mac text NOT NULL,
    address inet,
    address6 inet,
    deleting boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (network_id, mac),
    UNIQUE (network_id, address),
    UNIQUE (network_id, address6)
);
CREATE INDEX reservation_of_project ON reservation (project_id, sequence);
ALTER TABLE interface ADD COLUMN reservation_id uuid UNIQUE REFERENCES reservation;

CREATE VIEW held_address AS
SELECT network_id, mac, address, address6 FROM interface
UNION ALL SELECT network_id, mac, address, address6 FROM reservation;

-- A reserved address counts once, whether an interface has it or not; after its release for as long as one still has it.
DROP TRIGGER interface_counts ON interface;
CREATE TRIGGER interface_counts AFTER INSERT ON interface
    FOR EACH ROW WHEN (NEW.reservation_id IS NULL) EXECUTE FUNCTION count_addresses();
CREATE TRIGGER interface_uncounts AFTER DELETE ON interface
    FOR EACH ROW WHEN (OLD.reservation_id IS NULL) EXECUTE FUNCTION count_addresses();
CREATE TRIGGER interface_count_changes AFTER UPDATE ON interface
    FOR EACH ROW WHEN (OLD.reservation_id IS NOT NULL AND NEW.reservation_id IS NULL) EXECUTE FUNCTION count_addresses();
CREATE TRIGGER reservation_counts AFTER INSERT OR DELETE ON reservation
    FOR EACH ROW EXECUTE FUNCTION count_addresses();
