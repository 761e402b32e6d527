-- The address that a running guest's card was plugged in with: it is plugged anew only when that has changed.
-- depends: 0008_named_disks

ALTER TABLE interface ADD COLUMN plugged_address inet;
UPDATE interface SET plugged_address = address WHERE state = 'active';
