"""Shared by both programs: commands, ``--json``, exceptions as messages and exit statuses."""

from __future__ import annotations

import errno
import io
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import click

from pearl_data.terminal import say
from pearl_data.terminated import STATUS, leave, on_interrupt, words_on_interrupt
from pearl_tools.errors import Interrupted, PearlError, UsageError

#: Open files that every command may need; it does not start with fewer.
OPEN_FILES = 64

F = TypeVar("F", bound=Callable[..., Any])

#: Error numbers of a full disk, a quota, and a limit on a file's size.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FiniteRange(click.FloatRange):
    """A range of numbers without nan and infinity, which click lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; a message of click's where it is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return number


class Commands(click.Group):
    """A group whose commands are modules of ``package``, each imported on use.

    ``names`` are the names of commands and modules, in the order of the help text.
    """

    def __init__(self, *args: Any, package: str, names: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._package, self._names = package, names

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command ``cmd_name``, imported now; None for an unknown name."""
        if cmd_name not in self._names:
            return None
        members = vars(import_module(f"{self._package}.{cmd_name}")).values()
        return next(m for m in members if isinstance(m, click.Command) and m.name == cmd_name)


def json_option(command: F) -> F:
    """Adds ``--json``: the result as one JSON document on stdout."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."
    )(command)


def allow_unfinished_option(command: F) -> F:
    """Add ``--allow-unfinished``: read a data set before the run that writes it has ended."""
    return click.option(
        "--allow-unfinished",
        is_flag=True,
        help="Read a data set whose run has not ended: the shards written so far.",
    )(command)


def run_program(cli: click.Command, *, program: bool) -> NoReturn:
    """Run the command line and exit with its status; a :class:`PearlError` prints one clear line,
    never a traceback. :func:`pearl_data.terminated.on_interrupt` sets the message for Ctrl-C and
    SIGTERM. ``program`` if this process does nothing else.
    """
    on_interrupt("interrupted")
    sys.excepthook = _say_trace
    try:
        status = _status(cli)
    except (click.Abort, KeyboardInterrupt):
        status = _interrupted(words_on_interrupt(), program=program)
    except Interrupted as error:
        status = _interrupted(str(error), program=program)
    sys.exit(status)


def _interrupted(words: str, *, program: bool) -> int:
    if program:  # at once: an interpreter that ends can be interrupted again, with a traceback
        leave(words)
    say(words, err=True)
    return STATUS


def _status(cli: click.Command) -> int:
    try:
        _require_utf8(sys.argv[1:])
        _require_open_files()
        # without standalone mode click returns the status of ctx.exit(), else None
        return int(cli(standalone_mode=False) or 0)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue().rstrip("\n"), err=True)
        return error.exit_code
    except OSError as error:
        # reading and writing where people point us; anything else that is broken keeps its trace
        where = f"{error.filename}: " if error.filename else ""
        hint = "; make room and run the same command again" if error.errno in _FULL else ""
        say(f"error: {where}{error.strerror or error}{hint}", err=True)
        return 1
    except Interrupted:
        raise
    except MemoryError:
        say("error: out of memory", err=True)
        return 1
    except PearlError as error:
        say(f"error: {error}", err=True)
        return 2 if isinstance(error, UsageError) else 1


def _require_open_files() -> None:
    """Raise the soft limit of open files to :data:`OPEN_FILES`, or raise ``PearlError``: the
    libraries fail without a clear message if they cannot open a file.
    """
    try:
        import resource
    except ImportError:  # only Unix has such a limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        expected = f"expected room for {OPEN_FILES} open files, got {hard}"
        raise PearlError(f"{expected} (ulimit -n); raise the limit of this shell")
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def _require_utf8(arguments: Sequence[str]) -> None:
    """Refuse a name whose bytes are no UTF-8: records, JSON and pages could not say it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            told = os.fsencode(argument).decode("utf-8", "backslashreplace")
            msg = f"{told}: expected a name in UTF-8, got other bytes; rename the file or folder"
            raise UsageError(msg) from None


def _say_trace(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """The traceback of a bug, made harmless, since its message may quote data."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)
