-- Security groups, as agents read them.

-- name: policy_of_port
SELECT interface_id, project_id, network_id, group_ids FROM interface_groups WHERE interface_id = %(id)s

-- name: policies_of_host
SELECT interface_id, project_id, network_id, group_ids FROM interface_groups WHERE host = %(host)s

-- name: policies_of_project
-- One interface of each: what they have in common is asked for. Of the project that has the group.
SELECT DISTINCT ON (network_id, group_ids) interface_id, project_id, network_id, group_ids
FROM interface_groups
WHERE host = %(host)s AND project_id = (SELECT project_id FROM security_group WHERE id = %(id)s)

-- name: rules
SELECT id, rules FROM security_group WHERE id = ANY(%(ids)s)

-- name: members
-- Each project's own: whatever a rule names, it lets nobody else in.
SELECT project_id, network_id, member_of, array_agg(mac)
FROM interface_groups, unnest(group_ids) AS member_of
WHERE project_id = ANY(%(project_ids)s) AND network_id = ANY(%(network_ids)s) AND member_of = ANY(%(ids)s)
GROUP BY project_id, network_id, member_of

-- name: hosts_of_project
SELECT DISTINCT host FROM machine WHERE project_id = %(project_id)s AND host IS NOT NULL AND NOT deleting

-- name: forget_rules_about
-- Nobody is in that group any more, so they allow nothing.
UPDATE security_group g SET rules = (
    SELECT coalesce(jsonb_agg(rule ORDER BY place), '[]')
    FROM jsonb_array_elements(g.rules) WITH ORDINALITY AS listed (rule, place)
    WHERE rule ->> 5 IS DISTINCT FROM %(id)s::text
)
WHERE project_id = %(project_id)s AND id <> %(id)s::uuid AND EXISTS (
    SELECT FROM jsonb_array_elements(g.rules) AS listed (rule) WHERE rule ->> 5 = %(id)s::text
)

-- name: hosts_of_group
-- Of all machines of its project, if any rule there lets in the members of the group.
SELECT DISTINCT m.host FROM security_group g JOIN machine m ON m.project_id = g.project_id
WHERE g.id = %(id)s AND m.host IS NOT NULL AND NOT m.deleting AND EXISTS (
    SELECT FROM security_group o, jsonb_array_elements(o.rules) AS listed (rule)
    WHERE o.project_id = g.project_id AND rule ->> 5 = g.id::text
)
