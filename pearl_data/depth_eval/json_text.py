"""JSON that people wrote by hand, read so that nothing in it is silently lost."""

from __future__ import annotations

import json
from typing import Any

from pearl_tools.errors import BadInput


def parse_json(text: str, where: str) -> Any:
    """The document in ``text``; ``where`` is the file that an error names.

    Raises:
        BadInput: no JSON, nested beyond reading, or an object that gives one key twice: Python's
            reader would keep the last value without a word.

    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in found if keys.count(key) > 1)
            raise BadInput(f"{where}: expected every key once, got {twice!r} twice; remove one")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError as error:
        raise BadInput(f"{where}: expected JSON of a few levels, got a deeper one") from error
    except ValueError as error:
        raise BadInput(f"{where}: expected JSON, got {error}") from error
