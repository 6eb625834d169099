"""The fixtures of the acceptance tests: these too are about daemons as processes."""

from tests.acceptance.conftest import state_dir

__all__ = ["state_dir"]
