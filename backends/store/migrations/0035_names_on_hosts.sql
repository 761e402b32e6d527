-- Networks and interfaces have names on hosts that are shorter than their identities, which clients may choose: no two
-- identities that come out alike are let in.
-- depends: 0027_versions 0021_reservations

CREATE FUNCTION name_on_hosts(identity uuid) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT substr(sha256(uuid_send(identity)), 1, 5)
$$;
COMMENT ON FUNCTION name_on_hosts IS 'the forty bits of it that names of links have';

CREATE UNIQUE INDEX network_name_on_hosts ON network (name_on_hosts(id));
CREATE UNIQUE INDEX interface_name_on_hosts ON interface (name_on_hosts(id));
