"""The kinds of things in an annotation file: their names, and which kinds include which.

``Traffic_Light`` and ``traffic light`` are one kind. A kind and a broader one (``man``, ``person``)
fit the same thing, so neither may be a wrong choice beside the other. Broader kinds come from
``supercategory`` and similar fields, from a hierarchy beside the categories, and from names with
the same ending (``teddy bear``, ``bear``). Not supported: part-of relations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pearl_data.sources.facts import fold
from pearl_data.sources.synonyms import names_no_kind, same_things

#: Fields of a category, folded, that name broader and narrower ones, by name or id.
BROADER = frozenset({
    "supercategory", "supercategories", "superclass", "parent", "parents", "parentname", "parentid",
    "parentids", "parentcategory", "ancestors",
})  # fmt: skip
NARROWER = frozenset({"children", "subcategory", "subcategories", "subclasses", "descendants"})
#: A synonym of more categories tells none of them from another: a field left as it was.
_MOST_SHARING = 10
_NODE_NAME = ("name", "labelname", "label", "id")


class Kind(NamedTuple):
    """One category: its id, its name in plain words, the names of its keypoints.

    ``stuff``, such as sky, cannot be counted; a box of ``anything``, such as an ignored region, may
    hold things of every kind. Neither is asked about.
    """

    id: str
    name: str
    parts: list[str]
    role: Literal["thing", "stuff", "anything"] = "thing"


def id_text(value: Any) -> str | None:
    """An id as text: 1, 1.0 and "1" are equal; None for an invalid id.

    >>> [id_text(value) for value in (7, 7.0, " 7 ", "7.0", "-7.0", True, [], "")]
    ['7', '7', '7', '7', '-7', None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None if value != value else repr(value)  # noqa: PLR0124 - NaN
    text = str(value).strip()
    whole, dot, zeros = text.partition(".")
    digits = whole.removeprefix("-").isdecimal()
    return (whole if dot and digits and zeros and not zeros.strip("0") else text) or None


def plain_name(name: str) -> str:
    """A name in plain words: ``baseball_bat.`` becomes ``baseball bat``."""
    return " ".join(name.replace("_", " ").split()).rstrip(".,;:! ")


def role_of(category: dict[str, Any]) -> Literal["thing", "stuff", "anything"]:
    """The meaning of a category's boxes, from its name and ``isthing`` of panoptic sets."""
    if names_no_kind(category["name"]):
        return "anything"
    return "stuff" if category.get("isthing") in (0, "0", False) else "thing"


def part_names(keypoints: Any) -> list[str]:
    """The names of a category's keypoints in plain words; empty text for unnamed ones."""
    if not isinstance(keypoints, list):
        return []
    return [plain_name(name) if isinstance(name, str) else "" for name in keypoints]


def related(
    kinds: Iterable[Kind], categories: Iterable[dict[str, Any]], hierarchies: Iterable[Any] = ()
) -> dict[str, list[str]]:
    """Name of a kind -> the names of all broader and narrower kinds; kinds without any are absent.

    Names that fit the same thing are kin too: ``dog`` and ``dogs``, names
    that share one of their ``synonyms`` (LVIS). ``categories`` are the file's items,
    ``hierarchies`` trees of objects with a name and ``Subcategory`` or ``children`` (Open Images),
    or of objects name -> narrower ones.
    """
    names = {fold(kind.name): kind.name for kind in kinds}
    by_id = {kind.id: fold(kind.name) for kind in kinds}
    parents: dict[str, set[str]] = {}

    def key(value: Any) -> str | None:
        text = id_text(value)
        if text is None:
            return None
        return by_id.get(text, fold(text)) if fold(text) not in names else fold(text)

    def add(narrow: Any, broad: Any) -> None:
        narrow, broad = key(narrow), key(broad)
        if narrow and broad and narrow != broad:
            parents.setdefault(narrow, set()).add(broad)

    items = list(categories)
    for category in items:
        for field, value in category.items():
            if fold(field) in BROADER:
                for broad in _flat(value):
                    add(category.get("name"), broad)
            elif fold(field) in NARROWER:
                for narrow in _flat(value):
                    add(narrow, category.get("name"))
    for hierarchy in hierarchies:
        for narrow, broad in _edges(hierarchy, None):
            add(narrow, broad)
    said: dict[str, set[str]] = {}
    for category in items:
        for synonym in _flat(category.get("synonyms", [])):
            if isinstance(synonym, str) and isinstance(category.get("name"), str):
                said.setdefault(fold(synonym), set()).add(fold(category["name"]))
    for synonym, sharing in said.items():
        if len(sharing) <= _MOST_SHARING:
            for one, other in itertools.permutations(sharing | ({synonym} & names.keys()), 2):
                add(one, other)
    for one, other in same_things(names.values()):
        add(one, other)
        add(other, one)
    for name in names.values():
        words = name.casefold().replace("-", " ").split()
        for begin in range(1, len(words)):
            tail = fold("".join(words[begin:]))
            if tail in names:
                add(name, tail)
    kin: dict[str, set[str]] = {}
    for folded, name in names.items():
        for broad in _above(folded, parents) & names.keys() - {folded}:
            kin.setdefault(name, set()).add(names[broad])
            kin.setdefault(names[broad], set()).add(name)
    return {name: sorted(others) for name, others in sorted(kin.items())}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, dict):
        yield _node_name(value)
    else:
        yield value


def _node_name(node: dict[str, Any]) -> Any:
    folded = {fold(field): value for field, value in node.items()}
    return next((folded[field] for field in _NODE_NAME if field in folded), None)


def _edges(root: Any, broad: Any) -> Iterator[tuple[Any, Any]]:
    """(narrower, broader) names of a tree, whatever its depth."""
    waiting = [(root, broad)]
    while waiting:
        node, broad = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, broad) for item in node]
        elif not isinstance(node, dict):
            yield node, broad
        elif (name := _node_name(node)) is not None:
            yield name, broad
            waiting += [(v, name) for field, v in node.items() if fold(field) in NARROWER]
        else:
            for name, below in node.items():
                yield name, broad
                waiting.append((below, name))


def _above(name: str, parents: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for broad in parents.get(waiting.pop(), ()):
            if broad not in found:
                found.add(broad)
                waiting.append(broad)
    return found
