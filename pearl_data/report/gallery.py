"""The gallery of a page: which trajectories to show, and one card for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import polars as pl
from PIL import Image

from pearl_data.html import Markup, data_uri, join, tag
from pearl_data.report.depth_colours import mark_ends
from pearl_data.report.pictures import Shown, encode, show_medium, size_of_parent
from pearl_data.report.story import medium_line
from pearl_data.report.view import CallView, StepView, TrajectoryView, view_of
from pearl_data.shards import Sample
from pearl_tools.types import Box, MediaRecord

ROOT_WIDTH = 900
SEEN_SIDE = 260


def choose(rows: Callable[[], Iterable[pl.DataFrame]], count: int) -> list[tuple[str, int]]:
    """``(path, position)`` of ``count`` trajectories: families in turn, evenly spread within each.

    ``rows()`` gives frames with the columns ``path``, ``position`` and ``family``, and is called
    twice; the choice depends on these alone, so equal sets have equal galleries.
    """
    sizes: dict[str, int] = {}
    for frame in rows():
        for family in frame["family"]:
            sizes[family] = sizes.get(family, 0) + 1
    # Families that are smaller than an even share leave their places to the others.
    quota = dict.fromkeys(sizes, 0)
    for _ in range(min(count, sum(sizes.values()))):
        open_ = [family for family in sizes if quota[family] < sizes[family]]
        quota[min(open_, key=lambda family: quota[family])] += 1
    spread: dict[str, dict[int, tuple[str, int]]] = {
        family: {place * sizes[family] // places: ("", 0) for place in range(places)}
        for family, places in quota.items()
    }
    seen = dict.fromkeys(sizes, 0)
    for frame in rows():
        for path, position, family in frame.select("path", "position", "family").rows():
            if seen[family] in spread[family]:
                spread[family][seen[family]] = (path, position)
            seen[family] += 1
    chosen = [list(one.values()) for one in spread.values()]
    most = max(map(len, chosen), default=0)
    return [one[turn] for turn in range(most) for one in chosen if turn < len(one)]


def card(sample: Sample) -> Markup:
    """One trajectory: its pictures with the boxes of its calls, the steps, the answer."""
    view = view_of(sample.trajectory)
    trajectory, task = sample.trajectory, sample.trajectory.task
    choices = [
        tag("span", choice, class_="choice right" if choice == task.answer else "choice")
        for choice in task.choices
    ]
    facts = f"{trajectory.id} · {task.family} · {trajectory.split} · {trajectory.origin}"
    facts += "" if task.needs_tool else " · needs no tool"
    source = trajectory.source
    left = [
        *(_root(view, root, sample.members) for root in view.roots),
        tag("p", facts, class_="soft small"),
        tag("p", f"{source.dataset}, {source.row}, {source.licence}", class_="soft small"),
    ]
    right = [
        tag("p", task.question, class_="question"),
        tag("div", *choices, class_="choices") if choices else "",
        tag("h3", "How it went"),
        *(_step(step, trajectory.media, sample.members) for step in view.steps),
        _answer(view),
    ]
    return tag("article", tag("div", *left), tag("div", *right), class_="card")


def _root(view: TrajectoryView, root: MediaRecord, members: Mapping[str, bytes]) -> Markup:
    shown = show_medium(root, members)
    boxes = [] if shown.problem else list(_boxes(view.boxes_on(root.id), root))
    picture = _img(shown, (ROOT_WIDTH, ROOT_WIDTH), f"picture {root.id}", "")
    note = tag("p", shown.problem, class_="bad small") if shown.problem else ""
    return join(tag("div", picture, *boxes, class_="root"), note)


def _boxes(calls: list[CallView], root: MediaRecord) -> Iterator[Markup]:
    drawn: list[Box] = []
    for call in calls:
        if call.box_root is None:
            continue
        x0, y0, x1, y1 = call.box_root
        place = (
            f"left:{100 * x0 / root.width:.3f}%;top:{100 * y0 / root.height:.3f}%;"
            f"width:{100 * (x1 - x0) / root.width:.3f}%;"
            f"height:{100 * (y1 - y0) / root.height:.3f}%;border-color:{call.colour}"
        )
        # A number below its box where there is no room above, or where one stands already.
        near = any(
            abs(x0 - x) < 0.06 * root.width and abs(y0 - y) < 0.06 * root.height
            for x, y, *_ in drawn
        )
        low = y0 < 0.08 * root.height or near
        # and inside where there is no room below either
        side = "" if not low else " in" if y1 > 0.92 * root.height else " low"
        drawn.append(call.box_root)
        number = tag("span", str(call.number), style=f"background:{call.colour}")
        yield tag("div", number, class_=f"box{side}", style=place)


def _step(step: StepView, media: Sequence[MediaRecord], members: Mapping[str, bytes]) -> Markup:
    calls = [_call(call, media, members) for call in step.calls]
    return tag("div", tag("p", step.thought), *calls, class_="step")


def _call(view: CallView, media: Sequence[MediaRecord], members: Mapping[str, bytes]) -> Markup:
    call = view.call
    number = tag("span", str(view.number), class_="number", style=f"background:{view.colour}")
    parts = [tag("code", tag("b", call.tool), " ", call.arguments_raw)]
    if call.result.error:
        parts.append(tag("p", str(call.result.error), class_="bad small"))
    elif call.result.text:
        parts.append(tag("p", call.result.text, class_="soft small"))
    seen = [
        _seen(medium, size_of_parent(medium, media), members, view.colour)
        for medium in view.observations
    ]
    if seen:
        parts.append(tag("div", *seen, class_="seen"))
    return tag("div", number, tag("div", *parts), class_="call")


def _seen(
    medium: MediaRecord, of: tuple[int, int] | None, members: Mapping[str, bytes], colour: str
) -> Markup:
    shown = show_medium(medium, members, of=of)
    parts = [_img(shown, (SEEN_SIDE, SEEN_SIDE), medium_line(medium), f"border-color:{colour}")]
    if shown.problem:
        parts.append(tag("div", shown.problem, class_="bad small"))
    elif medium.kind == "depth":
        near = "near (log scale)" if shown.log else "near"
        parts.append(tag("div", "far", tag("i"), near, class_="bar soft small"))
    told = "; ".join(words for words in (medium_line(medium), shown.scale) if words)
    parts.append(tag("figcaption", told, class_="soft small"))
    return tag("figure", *parts)


def _answer(view: TrajectoryView) -> Markup:
    task, final = view.trajectory.task, view.trajectory.final
    right = final.answer == task.answer
    told = f" {final.verdict} by {final.verifier}; the {task.answer_source} says {task.answer}"
    return tag(
        "div",
        tag("p", final.thought),
        tag("b", final.answer, class_="good" if right else "bad"),
        tag("span", told, class_="soft small"),
        class_="answer",
    )


def _img(shown: Shown, within: tuple[int, int], alt: str, style: str) -> Markup:
    """The picture, reduced to fit ``within``; tiny ones are shown larger, at most six times.

    Depth is enlarged here rather than by the browser, so that the marks of its ends, drawn last,
    are as large on every map.
    """
    picture = shown.image
    scale = min(within[0] / picture.width, within[1] / picture.height, 6)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if scale < 1:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    elif shown.ends:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    picture = mark_ends(picture, shown.ends, 14)
    uri = data_uri(encode(picture, "JPEG", quality=82), "image/jpeg")
    return tag("img", src=uri, alt=alt, width=str(size[0]), style=style, loading="lazy")
