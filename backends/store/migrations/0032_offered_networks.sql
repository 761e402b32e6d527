-- What a host's wiring lets its machines be on.
-- depends: 0024_security_groups

ALTER TABLE host
    ADD COLUMN classes text[] NOT NULL DEFAULT '{local}',
    ADD COLUMN vlans int4multirange NOT NULL DEFAULT '{}';
COMMENT ON COLUMN host.classes IS 'the site''s networks that it has';
COMMENT ON COLUMN host.vlans IS 'the VLANs that it has for users';

CREATE FUNCTION offers(host host, networks uuid[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM network n
        WHERE n.id = ANY(networks)
          AND (n.class <> ALL(host.classes) OR n.vlan > 0 AND NOT host.vlans @> n.vlan)
    )
$$;
COMMENT ON FUNCTION offers IS 'whether a machine there can be on all of these networks';

CREATE FUNCTION is_at_home(network network, host host) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(network.class = ANY(host.classes), coalesce(network.host, host.name) = host.name)
$$;
COMMENT ON FUNCTION is_at_home IS 'whether the host is one that tells the network''s state';
