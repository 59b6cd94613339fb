"""The program ``pearl-data``. It handles Ctrl-C before it imports anything else."""

from __future__ import annotations

from pearl_data.terminated import is_program, like_ctrl_c
from pearl_tools.threads import wait_passively


def main() -> None:
    """Run the command line."""
    program = is_program(main)
    with like_ctrl_c(program=program):
        wait_passively()
        from pearl_data.cli.group import cli
        from pearl_data.command_line import run_program

        run_program(cli, program=program)


if __name__ == "__main__":
    main()
