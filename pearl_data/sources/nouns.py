"""English for the names of kinds and parts: plurals, articles, verbs, words of keypoint names.

Names are used as annotated; an error here affects grammar, never the answer.
"""

from __future__ import annotations

import functools
import re

from pluralizer import Pluralizer

#: The noun that is counted in a name, and its complement: ``head`` and `` of cattle``.
_HEAD = re.compile(r"(.*?)( of .*| \(.*|)", re.DOTALL)
#: Nouns without a singular for which the library has one.
_PAIRS = frozenset({"jeans", "pliers", "scissors"})


def _folded(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Mass nouns.
_MASS = _folded("""
    algae artwork asphalt bacon baggage bedding beef beer bread broccoli butter cardboard cash
    celery cheese clothing coffee concrete confetti corn cream crockery cutlery debris denim dirt
    dust equipment eyewear fabric flooring flour foam fog foliage food footwear fur furniture
    garbage garlic gasoline glassware graffiti grass gravel greenery hail hair ham hardware hay
    headgear headwear honey ice ivy jewellery jewelry juice kale ketchup kitchenware lettuce
    lightning litter livestock luggage lumber machinery mail makeup mayonnaise meat merchandise milk
    mist money moss mud mustard oil outerwear paint pasta plastic pollen popcorn pork pottery
    poultry produce rain rice rubbish rubble salt sand scaffolding seafood seaweed shampoo
    shrubbery signage silverware skin smoke snow soap soil soup spaghetti spinach sportswear
    stationery steam straw sugar sushi swimwear tableware tea timber tofu toothpaste traffic trash
    turf underwear vegetation water wheat wildlife wine wood wool yogurt
    """)
#: Singular nouns in -s that the library treats as plurals.
_NOT_PLURAL = frozenset({"axis", "lens", "species", "series"})
#: Beginnings pronounced as a vowel, without vowels pronounced as a consonant: ``a uniform``.
_VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once|uni(?!n|m)|us[aei]|ut[ei]|ura|uk)[aeiou]|8|hours?\b|hourg|heir|honest|x-",
    re.IGNORECASE,
)
_LETTERS = {"l": "left", "r": "right", "f": "front", "b": "back"}
#: Last words of keypoint names that belong before the part: ``head_top``.
_ENDS = frozenset({"base", "root", "tip", "top"})
#: Words of keypoint names that number a point instead of naming a part.
_NUMBERING = re.compile(r"\d|\b(kp|kpt|keypoint|point|landmark|joint|lm)s?\b")


@functools.cache
def plural(name: str) -> str:
    """The plural of a category name, which may be a plural already.

    >>> [plural(name) for name in ("skis", "wine glass", "head of cattle", "person (man)")]
    ['skis', 'wine glasses', 'heads of cattle', 'people (man)']
    """
    counted, rest = _split(name)
    if not (counted[-1:].isascii() and counted[-1:].isalpha()):
        return name  # a number, or another language's word
    if _is_acronym(counted.split()[-1]):
        return f"{counted}s{rest}"
    return _plurals().pluralize(counted) + rest


@functools.cache
def singular(name: str) -> str:
    """The singular of a category name, which may be a singular already.

    >>> [singular(name) for name in ("dogs", "wine glasses", "people", "bus", "heads of cattle")]
    ['dog', 'wine glass', 'person', 'bus', 'head of cattle']
    """
    counted, rest = _split(name)
    if not (counted[-1:].isascii() and counted[-1:].isalpha()) or _is_acronym(counted.split()[-1]):
        return name
    return _plurals().singular(counted) + rest


@functools.cache
def is_mass(name: str) -> bool:
    """True if ``name`` is a mass noun: ``grass``.

    >>> [name for name in ("dry grass", "ice cream", "wine glass", "head of hair") if is_mass(name)]
    ['dry grass', 'ice cream']
    """
    words = _split(name)[0].casefold().replace("-", " ").split()
    return bool(words) and words[-1] in _MASS


@functools.cache
def is_plural(name: str) -> bool:
    """True if ``name`` is a plural, or has no singular.

    >>> [name for name in ("skis", "scissors", "sheep", "bus", "pair of skis") if is_plural(name)]
    ['skis', 'scissors']
    """
    word = _split(name)[0].split()[-1:]
    last = word[0].casefold() if word else ""
    if last in _PAIRS:
        return True
    several = _plurals().is_plural(last) and not _plurals().is_singular(last)
    return bool(several) and last not in _NOT_PLURAL


@functools.cache
def one(name: str) -> str:
    """``name`` with its article, or with "some" if it is a plural.

    >>> [one(name) for name in ("dog", "hourglass", "uniform", "ATM", "skis", "grass")]
    ['a dog', 'an hourglass', 'a uniform', 'an ATM', 'some skis', 'some grass']
    """
    if is_plural(name) or is_mass(name):
        return f"some {name}"
    first = (name.split(maxsplit=1) or [""])[0]
    if _is_acronym(first):
        return f"{'an' if first[0] in 'AEFHILMNORSX' else 'a'} {name}"
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


def _is_acronym(word: str) -> bool:
    return word.isupper() and 1 < len(word) <= 4  # longer ones are words in capitals


def is_there(name: str) -> str:
    """``is there a dog``, ``is there any snow``, ``are there any skis``: a question's beginning."""
    if is_plural(name):
        return f"are there any {name}"
    return f"is there any {name}" if is_mass(name) else f"is there {one(name)}"


@functools.cache
def attribute_words(name: str) -> str:
    """An attribute's name as people say it.

    >>> [attribute_words(name) for name in ("hair_style", "Body Type", "faceShape", "OS")]
    ['hair style', 'body type', 'face shape', 'OS']
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").split()
    return " ".join(word if _is_acronym(word) else word.lower() for word in words)


@functools.cache
def part_words(name: str) -> str | None:
    """A keypoint's name in plain words, or None if it names no part.

    >>> [part_words(name) for name in ("left wrist", "L F Paw", "rightEye", "head top", "kp 12")]
    ['left wrist', 'left front paw', 'right eye', 'top of the head', None]
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [_LETTERS.get(w.lower(), w.lower()) for w in re.split(r"[\s_\-.]+", text) if w]
    plain = " ".join(words)
    if (
        not words
        or _NUMBERING.search(plain)
        or not all(re.fullmatch("[a-z]{2,}", w) for w in words)
    ):
        return None
    if len(words) > 1 and words[-1] in _ENDS:
        return f"{words[-1]} of the {' '.join(words[:-1])}"
    return re.sub(r"\bof (?!the )", "of the ", plain)


def _split(name: str) -> tuple[str, str]:
    counted, rest = _HEAD.fullmatch(name).groups()  # type: ignore[union-attr]  # matches anything
    return counted, rest


@functools.cache
def _plurals() -> Pluralizer:
    rules = Pluralizer()  # type: ignore[no-untyped-call]  # its constructor has no annotations
    for singular, several in (("lens", "lenses"), ("taxi", "taxis"), ("virus", "viruses")):
        rules.add_irregular_rule(singular, several)
    for word in ("furniture", "luggage", "cattle", "spaghetti"):
        rules.add_uncountable_rule(word)
    for word in ("german", "roman", "ottoman", "caiman", "talisman"):
        rules.add_irregular_rule(word, word + "s")  # no compounds of man
    return rules
