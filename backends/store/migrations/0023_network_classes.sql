-- Networks of the site's own, by class, and networks that are on several hosts at once.
-- depends: 0022_ipv6

ALTER TABLE network ADD COLUMN class text CHECK (class IN ('public', 'local', 'private'));
UPDATE network SET class = 'local' WHERE shared;
ALTER TABLE network ADD CHECK (shared = (class IS NOT NULL));
DROP INDEX network_shared;
CREATE UNIQUE INDEX network_of_class ON network (class) WHERE class IS NOT NULL;
ALTER TABLE host ADD COLUMN tunnel_address text;
COMMENT ON COLUMN host.tunnel_address IS 'where other hosts send frames of the networks that they share with it';
