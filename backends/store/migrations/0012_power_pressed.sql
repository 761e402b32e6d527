-- When a running guest's power button was last pressed: if it then shuts down, that was asked for, even if a start was
-- asked for since.
-- depends: 0011_object_fields

ALTER TABLE machine ADD COLUMN power_pressed_at timestamptz;
