"""Small annotated sets in the manner of public ones: drawn pictures with a COCO file each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pearl_tools.types import Box

HUMAN = [
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "head_top", "neck",
]  # fmt: skip
#: Places of HUMAN's points in their box, as fractions of it.
PLACES = [
    (0.3, 0.22), (0.1, 0.38), (0.03, 0.55), (0.7, 0.22), (0.9, 0.38), (0.97, 0.55),
    (0.35, 0.6), (0.37, 0.8), (0.38, 0.97), (0.65, 0.6), (0.63, 0.8), (0.62, 0.97),
    (0.5, 0.02), (0.5, 0.2),
]  # fmt: skip

Xywh = tuple[int, int, int, int]


def people(folder: Path, images: Sequence[Sequence[Xywh]], *, points: bool = True) -> Path:
    """One category with 14 named points, as in AI Challenger; without ``points`` none at all."""
    annotations = [
        [
            {
                "category_id": 1,
                "bbox": list(box),
                "keypoints": [
                    value
                    for x, y in PLACES
                    for value in (round(box[0] + x * box[2]), round(box[1] + y * box[3]), 2)
                ],
            }
            for box in boxes
        ]
        for boxes in images
    ]
    category = {"id": 1, "name": "human", "keypoints": HUMAN if points else []}
    return write(folder, [category], annotations)


def animals(folder: Path, kinds: list[str], shown: list[tuple[int, Xywh]]) -> Path:
    """Many categories with supercategories and one large animal on each picture, as in AP-10K:
    ``shown`` are (index in ``kinds``, box).
    """
    categories = [
        {"id": number + 1, "name": kind, "supercategory": "mammal"}
        for number, kind in enumerate(kinds)
    ]
    return write(
        folder, categories, [[{"category_id": kind + 1, "bbox": list(box)}] for kind, box in shown]
    )


def write(
    folder: Path, categories: list[dict[str, Any]], images: list[list[dict[str, Any]]]
) -> Path:
    """Pictures of 640x480 px, each with ``images``' annotations; returns the COCO file."""
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    folder.mkdir(parents=True, exist_ok=True)
    for number, of_image in enumerate(images):
        name = f"{number:012d}.png"
        picture = Image.new("RGB", (640, 480), (200, 10 + number % 200, number // 200))
        for annotation in of_image:
            x, y, width, height = annotation["bbox"]
            picture.paste((20, 60, 120), (x, y, x + width, y + height))
            document["annotations"].append(
                {"id": len(document["annotations"]), "image_id": number, "iscrowd": 0, **annotation}
            )
        picture.save(folder / name)
        document["images"].append({"id": number, "file_name": name, "width": 640, "height": 480})
    path = folder / "set.json"
    path.write_text(json.dumps(document))
    return path


def pixels(box: Box) -> tuple[float, float, float, float]:
    """Fractions of a picture of :func:`write` in pixels."""
    return box[0] * 640, box[1] * 480, box[2] * 640, box[3] * 480
