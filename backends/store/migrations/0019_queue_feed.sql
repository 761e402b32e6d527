-- Queues that the cloud fills (CDMI 1.1.1 §21, §22): with notifications, or with what a query finds.
-- depends: 0018_quotas

CREATE TABLE queue_feed (
    queue_id uuid PRIMARY KEY REFERENCES stored_object ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES project,
    account_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('notification', 'query')),
    dialect text NOT NULL,
    status text NOT NULL,
    after uuid,
    looked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX queue_feed_listening ON queue_feed (project_id) WHERE kind = 'notification' AND status = 'Current';
CREATE INDEX queue_feed_searching ON queue_feed (looked_at) WHERE kind = 'query' AND status = 'Processing';
DROP INDEX stored_object_of_project;
CREATE INDEX stored_object_of_project ON stored_object (project_id, id);
COMMENT ON COLUMN queue_feed.account_id IS 'who made the queue: it is told what that user may read';
COMMENT ON COLUMN queue_feed.dialect IS 'of CDMI, in which objects are shown in the queue';
COMMENT ON COLUMN queue_feed.after IS 'of a query: the last object that was looked at; null: none yet';

ALTER TABLE stored_object ADD COLUMN is_new boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stored_object.is_new IS 'Processing since it was made: it was never whole';
