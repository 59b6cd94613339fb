"""How the grounded expert says things: several plain wordings for every occasion.

Each list is one occasion; fields in braces are filled by the expert. Thoughts before a call say why
it is made, thoughts after it what it showed.
"""

from __future__ import annotations

import random

TOO_SMALL = (
    "{It} is only about {px} long at the size at which I see the picture: too small to tell.",
    "At this size {it} spans some {px}; I cannot make out the detail.",
    "I can see where {it} is, but at {px} the detail that is asked for is lost.",
    "The question is about {it}, which is barely {px} long here. I need to look closer.",
    "From the whole picture alone I would have to guess: {it} is about {px} long.",
)
LARGE_ENOUGH = (
    "The question is about {it}; a closer look will make sure.",
    "{It} is in the picture; I want to see it without everything around it.",
    "To be certain about {it} I should look at that part alone.",
)
WILL_CROP = (
    "I will crop the part around it.",
    "Cutting out that part of the picture should show it.",
    "Let me crop that area.",
    "A crop around it will keep every pixel that there is.",
)
WILL_ZOOM = (
    "I will zoom in on it.",
    "Zooming in on that spot should make it readable.",
    "Let me enlarge that spot.",
    "A zoomed view of that area will help.",
)
WILL_TAKE = (
    "I will crop it.",
    "I cut out exactly that part.",
    "A crop with those borders will do.",
)
WILL_ENLARGE = (
    "I will zoom in on it.",
    "I enlarge exactly that part.",
    "A zoomed view with those borders will do.",
)
SEEN_PART = (
    "I have seen {it}.",
    "That was {it}; there is more to look at.",
)
THEN_CLOSER = (
    "The crop holds {it}, still small in the view. I will go closer.",
    "{It} is in this part, yet I want it larger before I answer.",
    "That is the right place; {it} could be clearer, so I go one step closer.",
    "Good, {it} is in view. One more step brings it close enough.",
)
COUNT_WHY = (
    "Counting in a part of the picture goes wrong when the rest distracts; I look at {it} alone.",
    "I should count only inside {it}, so I take that part out.",
    "To count reliably I need {it} by itself, with its borders where the question puts them.",
    "Things outside {it} must not count; looking at just that part avoids mistakes.",
)
COUNT_SHOWED = (
    "In that part I count {n} of them.",
    "Going through the view from left to right I find {n}.",
    "The view shows {n} in all.",
    "I see exactly {n} inside the borders of the region.",
)
COUNT_NONE = (
    "In that part I find none of them.",
    "The view shows none.",
    "There are none inside the borders of the region.",
)
PRESENCE_WHY = (
    "I can only tell from {it} alone, so I take exactly that part.",
    "What lies beside {it} must not mislead me; I look at exactly that part.",
    "The question is about {it} and nothing around it.",
)
DETAIL_SHOWED = (
    "Now it is plain: {answer}.",
    "In this view I can make it out: {answer}.",
    "The closer look shows {answer}.",
    "Seen by itself, it is clear: {answer}.",
    "This view settles it: {answer}.",
)
IDENTITY_SHOWED = (
    "Now I can tell: it is {one}.",
    "The closer look shows {one}.",
    "Seen by itself, it is clearly {one}.",
    "In this view it is {one}, without a doubt.",
)
READ_SHOWED = (
    "Now I can read it: {answer}.",
    "At this size it reads {answer}.",
    "It says {answer}.",
    "The view shows it plainly: {answer}.",
)
PRESENT_SHOWED = (
    "Now that I see this spot alone: yes, it shows there.",
    "The view does show it.",
    "Yes, this spot shows it.",
)
ABSENT_SHOWED = (
    "Nothing of the kind is in this view.",
    "I find none there.",
    "The view shows other things, but not that.",
)
WHOLE_WHY = (
    "I take exactly {it}; its borders must not cut anything off.",
    "A view with the borders of {it} shows if something is missing.",
    "To judge {it} I look at it with exactly those borders.",
)
WHOLE_HELD = (
    "Nothing of it lies outside that box.",
    "The box holds it from one end to the other.",
    "Its outline stays inside the borders on every side.",
)
WHOLE_CUT = (
    "A part of it lies outside that box.",
    "The border of the box cuts a part of it off.",
    "It extends beyond the border of the box.",
)
PART_WHY = (
    "What lies in {it} is small here, so I look at exactly that part.",
    "I look at {it} alone to see which part it shows.",
    "From the whole picture I am not sure what {it} shows; I look at just that.",
)
PART_THERE = (
    "The view shows the part that is asked for.",
    "Yes, that is where it is.",
    "This is the part in question.",
)
PART_ELSEWHERE = (
    "The view shows another part; the one that is asked for is elsewhere.",
    "This is another part.",
    "This spot shows something else than the part in question.",
)
#: Why a question needs no tool, then what is plain to see.
PLAIN_WHY = (
    "{It} is large enough to see without a closer look.",
    "No tool is needed for this: {it} shows well in the picture.",
    "I can see {it} well at the size at which I see the picture.",
)
PLAIN_PLACE = (
    "What lies in {it} is large enough to see without a closer look.",
    "No tool is needed for {it}: it shows well in the picture.",
    "I can judge {it} at the size at which I see the picture.",
)
PLAIN_PICTURE = (
    "This takes no closer look.",
    "The whole picture is enough to tell.",
    "No tool is needed for this.",
)
PLAIN_DETAIL = (
    "I can make it out from here: {answer}.",
    "It is plain to see: {answer}.",
    "What the picture shows there: {answer}.",
)
PLAIN_PRESENT = ("It shows there.", "Yes, it is in sight.", "It is there to be seen.")
PLAIN_ABSENT = (
    "Nothing of the kind shows there.",
    "I see none there.",
    "Other things show there, but not that.",
)
PLAIN_COUNT = ("I count {n}.", "Counting gives {n}.", "I find {n}.")
PLAIN_COUNT_NONE = ("I see none of them there.", "There are none inside it.")
PLAIN_PAIR = (
    "I can see both {a} and {b} without a tool.",
    "{A} and {b} both show well in the picture.",
    "Comparing {a} with {b} takes no closer look.",
)
PLAIN_RELATION = (
    "Of the two, this one {is_relation}: {answer}.",
    "The one that {is_relation}: {answer}.",
)
DEPTH_WHY = (
    "Size and place in a flat picture mislead about distance; a depth map tells {a} from {b}.",
    "Whether {a} or {b} is nearer cannot be read off reliably by eye. I ask for the depth.",
    "I need the distance of {a} and of {b} from the camera; the depth tool estimates it.",
    "What looks bigger or lower need not be nearer; a depth estimate decides between {a} and {b}.",
)
DEPTH_SHOWED = (
    "From 0, farthest, to 1, nearest, {a} reads {da} and {b} {db}. So {near} is nearer.",
    "Of the map's range, {a} is at {da} and {b} at {db}; larger is nearer, so {near}.",
    "Reading the map, scaled to 0..1: {a} {da}, {b} {db}. {Near} is closer to the camera.",
    "{Near} has the larger inverse depth ({a} at {da} of the range, {b} at {db}), so it is nearer.",
)
NOW_DETAIL = (
    "What is asked about it is too small to see from here.",
    "Now I need the detail on it.",
    "The rest of the question is about that thing, so I look at it closely.",
    "That settles which one; next I need to see it large.",
)
BOTH_WHY = (
    "Two things matter here, {a} and {b}. I crop each of them first.",
    "I start by looking at {a} and {b} one by one.",
    "Before comparing distances I want a close view of {a} and of {b}.",
)
BOTH_SHOWED = (
    "The first view holds {a}, the second {b}.",
    "I have a view of {a} and one of {b}.",
    "One crop shows {a}, the other {b}.",
)
SO_ANSWER = (
    "The answer is {answer}.",
    "So the answer is {answer}.",
    "Therefore: {answer}.",
    "I answer: {answer}.",
)


class Voice:
    """Picks wordings with one generator, and fills them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def say(self, wordings: tuple[str, ...], **fields: object) -> str:
        """One of ``wordings`` with its fields; ``It``/``Near`` are ``it``/``near`` capitalised."""
        text = {name: str(value) for name, value in fields.items()}
        for name in list(text):
            capital = name.capitalize()
            text.setdefault(capital, text[name][:1].upper() + text[name][1:])
        return self._rng.choice(wordings).format(**text)


def pixels(number: int) -> str:
    """A length in words: ``one pixel``, ``40 pixels``."""
    return "one pixel" if number == 1 else f"{number} pixels"
