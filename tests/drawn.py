"""Small drawn pictures with known things in them, as files and as COCO annotations."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = {"red": (200, 20, 20), "green": (20, 160, 20), "blue": (20, 20, 200)}


def picture(
    boxes: list[tuple[str, tuple[int, int, int, int]]], size: tuple[int, int] = (320, 240)
) -> bytes:
    """A PNG of ``size`` (width, height) with filled boxes (colour word, x0 y0 x1 y1)."""
    image = Image.new("RGB", size, (230, 230, 220))
    draw = ImageDraw.Draw(image)
    for colour, (x0, y0, x1, y1) in boxes:
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=COLOURS[colour])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def coco_set(folder: Path, images: int = 3) -> Path:
    """Writes ``images`` pictures with four small boxes each and ``set.coco.json``; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "images": [],
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": ""}],
        "categories": [
            {"id": 1, "name": "box"},
            {"id": 2, "name": "block"},
            {"id": 3, "name": "ball"},
        ],
        "annotations": [],
    }
    colours = list(COLOURS)
    for number in range(images):
        # shifted a little from one to the next, so that no two pictures are the same
        left, top = 20 + number % 13, 30 + number // 13
        boxes = [
            (
                colours[(number + k) % 3],
                (left + 70 * k, top + 40 * (k % 2), left + 24 + 70 * k, top + 24 + 40 * (k % 2)),
            )
            for k in range(4)
        ]
        name = f"drawn{number}.png"
        (folder / name).write_bytes(picture(boxes))
        document["images"].append(
            {"id": number, "file_name": name, "width": 320, "height": 240, "license": 1}
        )
        for k, (colour, (x0, y0, x1, y1)) in enumerate(boxes):
            document["annotations"].append(
                {
                    "id": number * 10 + k,
                    "image_id": number,
                    "category_id": 1 + (k == 3),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "attributes": {"color": colour},
                    "depth_rank": k + 1,
                }
            )
    path = folder / "set.coco.json"
    path.write_text(json.dumps(document))
    return path
