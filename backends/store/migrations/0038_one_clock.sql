-- A new object was changed last when it was created, to the microsecond: both times are the statement's.
-- depends: 0037_disk_owners

ALTER TABLE stored_object ALTER created_at SET DEFAULT statement_timestamp(),
    ALTER modified_at SET DEFAULT statement_timestamp();
