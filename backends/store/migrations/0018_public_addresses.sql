-- Addresses that the world reaches are scarcer than those of the other networks that all share, and are counted apart.
-- depends: 0023_network_classes

CREATE OR REPLACE FUNCTION count_addresses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM change_quota(OLD.project_id, CASE class WHEN 'public' THEN 'public_addresses' ELSE 'addresses' END, -1)
        FROM network WHERE id = OLD.network_id AND shared;
    ELSE
        PERFORM change_quota(NEW.project_id, CASE class WHEN 'public' THEN 'public_addresses' ELSE 'addresses' END, 1)
        FROM network WHERE id = NEW.network_id AND shared;
    END IF;
    RETURN NULL;
END
$$;
UPDATE quota SET used = used - (
    SELECT count(*) FROM interface i JOIN network n ON n.id = i.network_id
    WHERE i.project_id = quota.project_id AND n.class = 'public'
) WHERE resource = 'addresses';
