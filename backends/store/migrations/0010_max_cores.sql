-- Up to how many cores a machine may grow while it runs, as its resource template said when it was made.
-- depends: 0009_plugged_address

ALTER TABLE machine ADD COLUMN max_cores integer CHECK (max_cores > 0);
