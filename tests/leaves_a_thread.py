"""A submission module that leaves a thread behind when it is imported."""

from tests.submissions_for_tests import Base, _thread_at_import

_thread_at_import()


class LeavesThread(Base):
    """Never gets to train."""
