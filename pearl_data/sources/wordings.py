"""Wordings of questions: several for every family. Fields in braces are filled in by
:mod:`pearl_data.sources.tasks`.
"""

from __future__ import annotations

NAME_ASKED: dict[str, tuple[str, ...]] = {
    "color": ("What colour is {it}?", "Which colour does {it} have?"),
    "material": ("What is {it} made of?", "Which material is {it} made of?"),
    "shape": ("What shape is {it}?", "Which shape does {it} have?"),
    "state": ("In which state is {it}?", "What state is {it} in?"),
    "pattern": ("Which pattern does {it} have?", "What pattern is on {it}?"),
}
ANY_NAME_ASKED = ("What is the {name} of {it}?",)
READ = (
    "What is written on {it}?",
    "Which text can be read on {it}?",
    "What does {it} say?",
)
READ_LETTER = (
    "Which character is printed on the tag of {it}?",
    "What character does the tag on {it} show?",
    "Read the tag on {it}: which character is it?",
)
IDENTITY = (
    "What is the small thing in the box {box} (fractions of the picture)?",
    "Which of these is inside the box {box} (fractions of the picture)?",
    "What is shown inside the box {box} (fractions of the picture)?",
)
IDENTITY_LARGE = (
    "What fills the box {box} (fractions of the picture)?",
    "Which of these is inside the box {box} (fractions of the picture)?",
    "What is shown inside the box {box} (fractions of the picture)?",
    "The box {box} (fractions of the picture) marks one thing. Which of these is it?",
)
PRESENCE = (
    "{Is_there} in the box {box} (fractions of the picture)?",
    "Does the box {box} (fractions of the picture) show {one}, whole or in part?",
    "Look at the box {box} (fractions of the picture): {is_there} in it?",
    "Can {one} be seen in the box {box} (fractions of the picture), whole or in part?",
)
PRESENCE_ANYWHERE = (
    "{Is_there} in the picture?",
    "Does the picture show {one}?",
)
WHOLE = (
    "Does the box {box} (fractions of the picture) hold all of the {name} that can be seen?",
    "Is everything that can be seen of the {name} in the box {box} (fractions of the picture)?",
    "Is the {name}, as far as it shows, wholly inside the box {box} (fractions of the picture)?",
)
PART = (
    "Is the {part} of {it} in the box {box} (fractions of the picture)?",
    "Does the box {box} (fractions of the picture) show the {part} of {it}?",
    "Look at the box {box} (fractions of the picture): is that where the {part} of {it} is?",
)
COUNT = (
    "How many {kind} are in the region {box} (fractions of the picture)?",
    "Count the {kind} inside the region {box} (fractions of the picture). How many are there?",
)
NEARER = (
    "Which is nearer to the camera, {a} or {b}?",
    "Which of the two is closer to the camera: {a} or {b}?",
    "{a} and {b}: which one is nearer to the viewer?",
)
NEARER_READ = (
    "Which character is on the tag of whichever is nearer to the camera, {a} or {b}?",
    "Of {a} and {b}, take the one nearer to the camera. Which character does its tag show?",
)
NEARER_ATTRIBUTE = (
    "Of {a} and {b}, take the one nearer to the camera. What is its {name}?",
    "What is the {name} of whichever is nearer to the camera, {a} or {b}?",
)
#: The phrase that makes a relation of two things, by its name. No phrase is a part of another one.
RELATIONS = {
    "left": "farther to the left",
    "right": "farther to the right",
    "above": "higher up in the picture",
    "below": "lower down in the picture",
    "larger": "takes up more of the picture",
    "smaller": "takes up less of the picture",
}
RELATION = (
    "Which {is_relation}, {a} or {b}?",
    "Which of the two {is_relation}: {a} or {b}?",
    "{a} and {b}: which one {is_relation}?",
)
