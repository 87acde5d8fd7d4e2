"""What the stand-in answers for each API, as the APIs' references describe it. To import this registers it."""

from tests.gcp.apis import compute, project, run, sql, storage

__all__ = ["compute", "project", "run", "sql", "storage"]
