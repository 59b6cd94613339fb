"""The program ``pearl-train``. It handles Ctrl-C before it imports anything else."""

from __future__ import annotations

import os

from pearl_data.terminated import end_with_parent, is_program, like_ctrl_c
from pearl_tools.threads import wait_passively


def main() -> None:
    """Run the command line."""
    program = is_program(main)
    with like_ctrl_c(program=program):
        wait_passively()
        # set before tokenizers is imported, which otherwise warns about every fork of a data loader
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        if program and "RANK" in os.environ:
            end_with_parent()  # torchrun
        from pearl_data.command_line import run_program
        from pearl_train.cli.group import cli

        run_program(cli, program=program)


if __name__ == "__main__":
    main()
