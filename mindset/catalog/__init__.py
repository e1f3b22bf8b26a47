"""The catalog in Postgres: schema, migrations and statements."""
