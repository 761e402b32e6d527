"""The cloud's tag, which begins the name of everything of this cloud's on a host."""

from __future__ import annotations

import psycopg

from altostratus.settings import Settings


def cloud_tag(settings: Settings) -> str:
    """Six characters, chosen once."""
    with psycopg.connect(settings.conninfo, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO cloud (tag) VALUES ('as' || substr(md5(gen_random_uuid()::text), 1, 4)) ON CONFLICT DO NOTHING"
        )
        row = connection.execute("SELECT tag FROM cloud").fetchone()
    return str(row[0]) if row else ""
