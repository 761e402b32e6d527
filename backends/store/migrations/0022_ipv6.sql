-- IPv6 beside IPv4: a /64 per network, an address of it per interface.
-- depends: 0009_plugged_address

ALTER TABLE network ADD COLUMN cidr6 text;
ALTER TABLE network ADD COLUMN masquerade6 boolean NOT NULL DEFAULT true;
ALTER TABLE interface ADD COLUMN address6 inet;
ALTER TABLE interface ADD COLUMN plugged_address6 inet;
ALTER TABLE interface ADD UNIQUE (network_id, address6);
COMMENT ON COLUMN network.masquerade6 IS 'guests appear outside under the host''s IPv6 address (NAT66), not their own';
