-- The password of a running machine's VNC display, for those who may see the machine.
-- depends: 0005_objects

ALTER TABLE machine ADD COLUMN console_password text;
