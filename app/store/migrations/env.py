"""Alembic's entry: runs the migrations on the connection that `app.store.schema_upgrade` holds."""

from alembic import context

from app.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller's transaction spans every migration: a store is never left between two versions.
    transactional_ddl=False,
)
context.run_migrations()
