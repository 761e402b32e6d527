-- Fields of stored objects that no standard defines: kept as they were given (CDMI 1.1.1 §8.1).
-- depends: 0010_max_cores

ALTER TABLE stored_object ADD COLUMN fields jsonb NOT NULL DEFAULT '{}';
