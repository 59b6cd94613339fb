"""Wrong choices for an annotated set: which names and values occur in it, and how often.

Wrong choices are drawn as often as they are right answers elsewhere, so that the most frequent
answer is not worth guessing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pearl_data.sources.facts import Facts, Thing, fold

#: Attributes that are read rather than seen.
TEXT_ATTRIBUTE = "text"
#: Wrong choices per question where the set offers as many.
WRONG = 3
#: Attributes whose values fit things of any kind.
_ANY_KIND = frozenset({"color", "material", "shape", TEXT_ATTRIBUTE})


#: Words that turn what they stand beside into its opposite.
_NEGATIONS = frozenset({"no", "non", "not", "without", "half", "partly", "un"})


class Vocabulary:
    """The counts of each name and each attribute value in the whole set.

    ``categories`` are all names of the set, used or not; ``kin`` maps a name to the names that
    are broader or narrower (``person``, ``man``).
    """

    def __init__(
        self,
        things: Iterable[Thing],
        categories: Iterable[str] = (),
        kin: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.names: Counter[str] = Counter(dict.fromkeys(categories, 0))
        self._kin = kin or {}
        self._values: dict[str, Counter[str]] = {}
        self._values_of: dict[tuple[str, str], Counter[str]] = {}
        for thing in things:
            self.count(thing.name)
            for name, value in thing.attributes.items():
                self.count(thing.name, name, value)

    def count(self, kind: str, attribute: str = "", value: str = "", times: int = 1) -> None:
        """Count ``times`` things of a ``kind``, or an ``attribute``'s ``value`` on so many."""
        if not attribute:
            self.names[kind] += times
            return
        self._values.setdefault(attribute, Counter())[value] += times
        self._values_of.setdefault((kind, attribute), Counter())[value] += times

    def wrong_values(
        self, thing: Thing, attribute: str, rng: random.Random, *, first: str | None = None
    ) -> list[str]:
        """Up to three values that ``attribute`` could have on ``thing`` but has not.

        Colours, materials, shapes and words fit anything; a state or a pattern fits only things of
        the same kind (``visor down`` would be no serious choice for an ear). ``first`` is a wrong
        value that must be among them.
        """
        answer = thing.attributes[attribute]
        if attribute in _ANY_KIND:
            counts = self._values[attribute]
        else:
            counts = self._values_of[thing.name, attribute]
        counts = Counter({v: n for v, n in counts.items() if _apart(v, answer, attribute)})
        chosen = [first] if first is not None else []
        wrong = chosen + draw(counts, {answer, *chosen}, WRONG - len(chosen), rng)
        rng.shuffle(wrong)
        return wrong

    def wrong_names(
        self, facts: Facts, excluded: set[str], rng: random.Random, owed: Counter[str]
    ) -> list[str]:
        """Up to three names of the set, outside ``excluded``, that fit nothing in the picture, nor
        are broader or narrower than one that does: first those ``owed``, then other right answers,
        then unused names.
        """
        excluded = excluded | {thing.name for thing in facts.things} | set(facts.doubtful)
        excluded |= {name for one in excluded for name in self._kin.get(one, ())}
        wrong = draw(owed, excluded, WRONG, rng)
        wrong += draw(+self.names, excluded | set(wrong), WRONG - len(wrong), rng)
        unused = Counter(dict.fromkeys((n for n, count in self.names.items() if not count), 1))
        wrong += draw(unused, excluded | set(wrong), WRONG - len(wrong), rng)
        rng.shuffle(wrong)
        return wrong


def _apart(value: str, answer: str, attribute: str) -> bool:
    """``value`` is wrong where ``answer`` is right: neither says the other and more, as ``light
    blue`` says ``blue``. Numbers beside the words of a colour are an annotator's, and not seen.
    """
    one, other = (_words(text, numbers=attribute != "color") for text in (value, answer))
    return not (one <= other or other <= one) or bool((one ^ other) & _NEGATIONS)


def _words(text: str, *, numbers: bool) -> set[str]:
    words = set(re.findall(r"\w+", text.casefold().replace("_", " ")))
    letters = {word for word in words if not word.isdecimal()}
    return words if numbers else letters or words


def draw(counts: Counter[str], excluded: set[str], number: int, rng: random.Random) -> list[str]:
    """Up to ``number`` values outside ``excluded``, the most frequent first, no duplicates; `Light
    Blue` and `light_blue` are one value.
    """
    taken = {fold(value) for value in excluded}
    left = {v: count for v, count in sorted(counts.items()) if fold(v) not in taken}
    drawn: list[str] = []
    while left and len(drawn) < number:
        value = rng.choices(list(left), weights=list(left.values()))[0]
        drawn.append(value)
        left = {v: count for v, count in left.items() if fold(v) != fold(value)}
    return drawn
