"""Names of kinds that mean the same thing, and names that mean no kind.

Sets that were merged name one thing twice: ``motorbike`` and ``motorcycle``, ``dog`` and ``dogs``.
Only everyday names of common sets are listed; a wrong pair costs questions, never truth. Not here:
broader and narrower names that the file itself gives (:mod:`.kinds`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from pearl_data.sources.facts import fold
from pearl_data.sources.nouns import singular


def _folded(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Folded names; any two of a line may fit the same thing.
_SAME = tuple(
    line.split()
    for line in """
    person human people pedestrian
    car automobile auto
    truck lorry
    motorcycle motorbike motor
    bicycle bike pushbike
    airplane aeroplane plane aircraft airliner jet
    boat ship vessel
    couch sofa settee
    tv television televisionset tvset tvmonitor monitor
    cellphone mobilephone cellulartelephone smartphone phone telephone mobile
    laptop laptopcomputer notebookcomputer
    hairdrier hairdryer blowdryer
    diningtable table
    pottedplant houseplant plant
    cow cattle ox bull calf
    dog puppy hound
    cat kitten
    sheep lamb
    chicken hen rooster
    refrigerator fridge
    cup mug
    glasses eyeglasses spectacles
    donut doughnut
    trafficlight trafficsignal stoplight semaphore
    trashcan garbagecan dustbin wastebin rubbishbin bin trashbin garbagebin wastebasket
    licenseplate licenceplate numberplate
    firehydrant hydrant fireplug
    remote remotecontrol
    handbag purse bag
    cap hat
    coat jacket
    pants trousers
    sweater jumper pullover
    sidewalk pavement
    tap faucet
    shop store
    street road
    """.strip().splitlines()
)
_LINE_OF = {name: number for number, line in enumerate(_SAME) for name in line}
#: Narrower names of the first line.
_PEOPLE = _folded("""
    man woman boy girl child kid baby toddler adult lady gentleman guy rider cyclist motorcyclist
    driver passenger skier surfer snowboarder worker player athlete policeman soldier
    """)
#: Folded names that mean no kind: of boxes that may hold anything, and of unnamed ones.
_ANYTHING = _folded("""
    annotation anything background bbox category class crowd default dontcare entity foreground
    ignore ignored ignoredregion ignoredregions ignoreregion ignoreregions instance item items misc
    miscellaneous na none null object objects obj other others region roi stuff thing things
    unclassified unidentified undefined unknown unlabeled unlabelled unsure void
    """)
#: Codes: WordNet ids, knowledge graph ids, numbered classes.
_CODE = re.compile(
    r"n\d{8}|/[mgt]/\w+|(?:class|cls|cat|category|label|obj|object|id|type)[ _#:-]*\d+",
    re.IGNORECASE,
)


def names_no_kind(name: str) -> bool:
    """True if ``name`` means no kind: its boxes may hold things of any kind.

    >>> [n for n in ("ignored regions", "dog", "n02084071", "Others") if names_no_kind(n)]
    ['ignored regions', 'n02084071', 'Others']
    """
    return fold(name) in _ANYTHING or _CODE.fullmatch(name.strip()) is not None


def same_things(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of ``names``, folded, that may fit the same thing.

    >>> sorted(set(same_things(["dogs", "dog", "sofa", "couch", "men", "person", "dog (puppy)"])))
    [('dog(puppy)', 'dog'), ('dogs', 'dog'), ('men', 'person'), ('sofa', 'couch')]
    """
    alike: dict[str | int, list[str]] = {}
    people: list[str] = []
    names = list(names)
    plain = {fold(name) for name in names}
    for name in names:
        if (short := fold(name.partition("(")[0])) != fold(name) and short in plain:
            yield fold(name), short
        one = fold(singular(name))
        alike.setdefault(one, []).append(fold(name))
        line = _LINE_OF.get(fold(name), _LINE_OF.get(one))
        if line is not None:
            alike.setdefault(line, []).append(fold(name))
        if one in _PEOPLE or fold(name) in _PEOPLE:
            people.append(fold(name))
    for same in alike.values():
        yield from itertools.combinations(same, 2)
    yield from itertools.product(people, alike.get(0, ()))
