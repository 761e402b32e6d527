"""The job queue's own tables, as the pinned Procrastinate ships them."""

from procrastinate.schema import SchemaManager
from yoyo import step

steps = [step(SchemaManager.get_schema())]
