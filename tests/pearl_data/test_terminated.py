from __future__ import annotations

import os
import signal

from pearl_data.terminated import like_ctrl_c


def test_a_child_of_a_command_ends_as_without_us() -> None:
    with like_ctrl_c():
        child = os.fork()
        if not child:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
