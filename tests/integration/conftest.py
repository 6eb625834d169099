"""The PostgreSQL server that the integration tests share."""

from collections.abc import Iterator

import pytest

from tests.integration.databases import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server
