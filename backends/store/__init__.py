"""PostgreSQL: connections, migrations, and the rows' way into dataclasses. SQL stands in queries/*.sql."""
