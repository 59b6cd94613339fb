"""What can go wrong around a tool call: data where a model could repair it, else exceptions.

    ToolError (data)              a call failed; becomes an observation with a code below
    PearlError (exception)        stops the run with its name
    ├── UsageError                the options ask for something impossible (exit 2)
    ├── Interrupted               somebody stopped it; it can go on (exit 130)
    ├── BadInput                  a file or record that cannot be used (exit 1)
    ├── ModelUnavailable          a depth model cannot be loaded here (exit 1)
    │   └── UnknownModel          nothing has that name (exit 2 where the caller named it)
    └── ToolBug                   a tool of ours broke its own promise (exit 1)
    ToolFailure (exception)       inside the executor only: carries one ToolError to its boundary

Stages in the order in which a call passes them; every set is closed, so audits can count by code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

Stage = Literal["parse", "schema", "reference", "geometry", "execution", "result", "semantic"]
STAGES: tuple[Stage, ...] = get_args(Stage)

FaultOwner = Literal["caller", "tool", "media", "environment"]
FAULT_OWNERS: tuple[FaultOwner, ...] = get_args(FaultOwner)

#: stage -> code -> (whose fault it is, whether the same caller can repair it by calling again).
ERROR_CODES: dict[Stage, dict[str, tuple[FaultOwner, bool]]] = {
    "parse": {
        "not_json": ("caller", True),
        "duplicate_key": ("caller", True),
        "not_an_object": ("caller", True),
        "no_call": ("caller", True),
        "unclosed": ("caller", True),
        "truncated": ("media", False),
        "checksum": ("media", False),
        "missing_member": ("media", False),
        "unsafe_member": ("media", False),
        "misplaced": ("media", False),
    },
    "schema": {
        "unknown_tool": ("caller", True),
        "missing_field": ("caller", True),
        "unknown_field": ("caller", True),
        "type": ("caller", True),
        "length": ("caller", True),
        "range": ("caller", True),
        "enum": ("caller", True),
        "pattern": ("caller", True),
        "combination": ("caller", True),
        "version": ("caller", False),
    },
    "reference": {
        "unknown_medium": ("caller", True),
        "no_such_file": ("media", False),
        "wrong_kind": ("caller", True),
        "index_out_of_range": ("caller", True),
        "not_yet": ("caller", True),
        "duplicate_id": ("caller", True),
        "duplicate_box": ("caller", True),
    },
    "geometry": {
        "wrong_unit": ("caller", True),
        "inverted": ("caller", True),
        "zero_area": ("caller", True),
        "partly_outside": ("caller", True),
        "outside": ("caller", True),
        "too_small": ("caller", True),
        "whole_image": ("caller", True),
        "aspect_ratio": ("media", False),
    },
    "execution": {
        "timeout": (
            "environment",
            True,
        ),  # for tools that decode video, and inputs that stall a worker
        "decode": ("media", False),
        "worker_died": ("media", False),  # twice, on this input
        "out_of_memory": ("environment", False),
        "tool_bug": ("tool", False),
    },
    "result": {
        "missing_media": ("tool", False),
        "hash_mismatch": ("media", False),
        "size_mismatch": ("media", False),
        "box_mismatch": ("tool", False),
        "replay_differs": ("tool", False),
        "replay_failed": ("tool", False),
        "not_finite": ("tool", False),
    },
    "semantic": {
        "repeated_call": ("caller", True),
        "unused_observation": ("caller", True),
        "insufficient_calls": ("caller", True),
        "unfaithful_crop": ("caller", True),
        "answer_not_in_choices": ("caller", True),
        "answer_contradicts": ("caller", True),
        "observation_contradicts": ("tool", False),
        "dangling_media": ("caller", True),
        "identity": ("caller", False),
        "no_question": ("caller", False),
        "ambiguous": ("caller", False),
    },
}


#: JSON Schema keyword -> our code; every other keyword is a ``schema.combination``.
SCHEMA_CODES: dict[str, str] = {
    "required": "schema.missing_field",
    "additionalProperties": "schema.unknown_field",
    "type": "schema.type",
    "minItems": "schema.length",
    "maxItems": "schema.length",
    "minLength": "schema.length",
    "maxLength": "schema.length",
    "minimum": "schema.range",
    "maximum": "schema.range",
    "exclusiveMinimum": "schema.range",
    "exclusiveMaximum": "schema.range",
    "enum": "schema.enum",
    "const": "schema.enum",
    "pattern": "schema.pattern",
}


class ToolError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One failed call as data: what was expected, what came, where, what to do, whose fault.

    ``code`` is ``stage.code`` from :data:`ERROR_CODES`; ``path`` is a JSON path into the call
    (``arguments.bbox[0]``) or the record (``steps[0].calls[1].id``), empty for the whole thing.
    """

    code: str
    path: str
    expected: str
    got: str
    hint: str
    fault_owner: FaultOwner
    retryable: bool

    @property
    def stage(self) -> Stage:
        """The first half of the code."""
        return self.code.split(".", 1)[0]  # type: ignore[return-value]  # closed by tool_error()

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}expected {self.expected}, got {self.got} [{self.code}]{hint}"


def all_codes() -> list[str]:
    """Every ``stage.code`` there is, in stage order."""
    return [f"{stage}.{code}" for stage, codes in ERROR_CODES.items() for code in codes]


def tool_error(
    code: str,
    path: str,
    expected: str,
    got: object,
    hint: str = "",
    *,
    fault_owner: FaultOwner | None = None,
) -> ToolError:
    """A :class:`ToolError` with fault owner and retryability looked up from its code.

    ``fault_owner`` overrides the table where the same code has another cause (memory that runs out
    over a huge picture is the medium's fault). Raises ``KeyError`` outside the closed set.
    """
    stage, _, name = code.partition(".")
    owner, retryable = ERROR_CODES[stage][name]  # type: ignore[index]  # KeyError is the promise
    return ToolError(
        code=code,
        path=path,
        expected=expected,
        got=short_repr(got),
        hint=hint,
        fault_owner=fault_owner or owner,
        retryable=retryable,
    )


def short_repr(value: Any, limit: int = 120) -> str:
    """``value`` in one line of at most ``limit`` characters: strings without quotes, exceptions as
    their message, lone surrogates escaped, so that any encoder accepts it.
    """
    whole = _text(value)
    start = whole[: 8 * limit]  # bounds the time for long values
    text = writable(" ".join(start.split()))
    return text if len(text) <= limit and start == whole else text[: limit - 1] + "…"


def writable(text: str) -> str:
    r"""``text`` with lone surrogates as escapes, so that any encoder accepts it.

    >>> writable("a\ud800")
    'a\\ud800'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value) if isinstance(value, Exception) else repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"{type(value).__name__} too long to write"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few of ``names``, and how many more there are.

    >>> listed(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class PearlError(Exception):
    """Base of all exceptions that stop a run on purpose; the message is meant for the user."""


class UsageError(PearlError):
    """The command line or the caller's options ask for something impossible."""


class Interrupted(PearlError):
    """Somebody stopped it; the message says how to go on (exit 130)."""


class BadInput(PearlError):
    """A file, folder or record that cannot be used, with what was expected and what came."""


class ModelUnavailable(PearlError):
    """A depth model cannot be loaded here: names the model, the reason and the ways out."""


class UnknownModel(ModelUnavailable):
    """No depth model can have that name, or none has: misuse where it came from an option."""


class ToolBug(PearlError):
    """A tool of ours returned something that its contract forbids."""


class ToolFailure(Exception):
    """Carries one :class:`ToolError` from inside a tool to the executor, which returns it."""

    def __init__(self, error: ToolError) -> None:
        super().__init__(str(error))
        self.error = error


def fail(code: str, path: str, expected: str, got: object, hint: str = "") -> ToolFailure:
    """One coded tool error wrapped as an exception, ready to be raised."""
    return ToolFailure(tool_error(code, path, expected, got, hint))
