"""Code that runs as another user, for tests of what belongs to whom."""

import os
import sys
import traceback

import pytest

NOBODY = 65534

# in CI a missing root is a failure, and hides nothing
as_root = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can be another user: run the tests as root"
)


def run_as(user, group, work, groups=()):
    """Run ``work()`` in a child process as another user; fail the test when it fails."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([group, *groups])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  (told by the exit code)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
