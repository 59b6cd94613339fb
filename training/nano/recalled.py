"""Words said before, said again: texts without a picture.

What a model has read or said must be at hand when it says it once more: an offered word, a box, a
finding that becomes a conclusion. A real base model knows that from all it has read; this one had
learnt captions alone and could not repeat a word. As in `captions.py` nothing is asked, and what
nobody could foresee is `given`. Leaves out the chat around a text (`samples.py`).
"""

import random
from collections.abc import Callable, Sequence

from captions import Told, given, sentence, words_line

from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, PATTERNS, SHAPES
from pearl_data.sources.facts import box_words

_AGAIN = ("Again: {listed}.", "{listed}", "The same words: {listed}.", "Once more {listed}.")
_FINDING = (
    "It is clearly {word}.",
    "Now it is plain: {word}.",
    "I find {word}.",
    "There is {word}, as the view shows.",
    "This shows {word}.",
    "The word is {word}.",
    "That is {word}; nothing else.",
)
_SO = ("So {word}.", "In short: {word}.", "Said again: {word}.", "\n{word}", "That makes {word}.")
_KEPT = (
    ("{name} has {value}.", "{name} has {value}.", "{value} is with {name}."),
    ("{name}: {value}.", "{name}: {value}.", "{value}: {name}."),
    ("{name} is at {value}.", "{name} is at {value}.", "At {value} is {name}."),
)


def _number(rng: random.Random) -> str:
    return f"{rng.random():.2f}"


def _box(rng: random.Random) -> str:
    x0, y0 = rng.uniform(0, 0.9), rng.uniform(0, 0.9)
    return box_words((x0, y0, rng.uniform(x0 + 0.02, 1), rng.uniform(y0 + 0.02, 1)))


def _name(rng: random.Random) -> str:
    return f"the {rng.choice(COLOURS)} {rng.choice(SHAPES)}"


_WORDS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: rng.choice(LABEL_CHARACTERS),
    lambda rng: rng.choice(COLOURS),
    lambda rng: rng.choice(SHAPES),
    lambda rng: rng.choice(PATTERNS),
    lambda rng: str(rng.randint(0, 9)),
    _number,
    _name,
    _box,
)


def _some(rng: random.Random, make: Callable[[random.Random], str], count: int) -> list[str]:
    """Different words of one kind, at most so many: of patterns there are few."""
    return list(dict.fromkeys(make(rng) for _ in range(count)))


def _names(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Colours and shapes, none of them twice."""
    return list(zip(rng.sample(COLOURS, count), rng.sample(SHAPES, count), strict=True))


def said_again(rng: random.Random) -> Told:
    """A list, and the list again."""
    make = rng.choice(_WORDS)
    words = _some(rng, make, 2 if make is _box else rng.randint(2, 6))
    if rng.random() < 0.5:
        words.append(rng.choice(_WORDS[:-1])(rng))
    listed = ", ".join(words)
    opening, closing = rng.choice(_AGAIN).split("{listed}")
    return Told(f"Words: {listed}.", given(opening) * bool(opening) + listed + closing)


def picked(rng: random.Random) -> Told:
    """Names in a line, and each again by its colour or its shape."""
    names = _names(rng, rng.randint(2, 5))
    line = words_line(rng, [f"the {colour} {shape}" for colour, shape in names])
    said = [
        given(f"{sentence(rng.choice(name))}:") + f" the {name[0]} {name[1]}."
        for name in rng.choices(names, k=3)
    ]
    return Told(line, " ".join(said))


def kept(rng: random.Random) -> Told:
    """What belongs together, and each again by the other."""
    make = rng.choice((*_WORDS[:1], *_WORDS[4:6], _box))
    count = 2 if make is _box else rng.randint(2, 4)
    names = [f"the {colour} {shape}" for colour, shape in _names(rng, count)]
    values = _some(rng, make, count)
    first, by_name, by_value = rng.choice(_KEPT)
    pairs = list(zip(names, values, strict=False))
    line = " ".join(sentence(first.format(name=n, value=v)) for n, v in pairs)
    said = []
    for name, value in rng.choices(pairs, k=2 if "[" in values[0] else 3):
        wording = by_name if rng.random() < 0.7 else by_value
        said.append(_known_first(wording, name=name, value=value))
    return Told(line, " ".join(said))


def _known_first(wording: str, *, name: str, value: str) -> str:
    """The wording with all up to its second field given."""
    before = wording[: wording.rindex("{")].rstrip()
    rest = wording[len(before) :]
    told = sentence(before.format(name=name, value=value))
    return given(told) + rest.format(name=name, value=value)


def concluded(rng: random.Random) -> Told:
    """A finding, and again what was found; several times."""
    said = []
    for _ in range(rng.randint(2, 4)):
        word = rng.choice(_WORDS[:-1] if said else _WORDS)(rng)
        finding = sentence(rng.choice(_FINDING).format(word=word))
        so, end = rng.choice(_SO).split("{word}")
        opening = f"{finding}{so}" if so == "\n" else f"{finding} {so}".rstrip()
        said.append(given(opening) + (" " if so.endswith(" ") else "") + word + end)
    return Told("", " ".join(said))


KINDS: Sequence[Callable[[random.Random], Told]] = (said_again, picked, kept, concluded, concluded)
"""As often as they are taken."""


def of_recalled(rng: random.Random) -> Told:
    """A line that is read, perhaps none, and words that were said before."""
    return rng.choice(KINDS)(rng)
