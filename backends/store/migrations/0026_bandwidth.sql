-- What a guest receives and sends at most by an interface; NULL: no limit.
-- depends: 0025_traffic

ALTER TABLE interface
    ADD COLUMN ingress_kbit_s integer CHECK (ingress_kbit_s > 0),
    ADD COLUMN egress_kbit_s integer CHECK (egress_kbit_s > 0);
