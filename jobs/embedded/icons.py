"""Open icon sets: which, under what licence, what each icon is called, and its drawing in styles that no vendor draws.

Icons come as Iconify JSON (SVG bodies) from npm packages, names and keywords from emojibase-data. The vendors of the
sample private set (Fluent Emoji Flat, Noto v1, FxEmoji, Streamline Emojis) are left out: they measure how well the
models do on drawings they have never seen.
"""

from __future__ import annotations

import colorsys
import io
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image, ImageColor

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")

EMOJIBASE = "emojibase-data@17.0.0"
"""Names, keywords and groups of Unicode's emoji (MIT)."""


@dataclass(frozen=True)
class IconSet:
    """An npm package of Iconify JSON. `drawn`: whether the models that draw learn from it."""

    name: str
    version: str
    licence: str
    drawn: bool

    @property
    def package(self) -> str:
        return f"@iconify-json/{self.name}@{self.version}"


SETS = (
    IconSet("noto", "1.2.9", "Apache-2.0", drawn=True),
    IconSet("twemoji", "1.2.5", "CC-BY-4.0", drawn=True),
    IconSet("fluent-emoji", "1.2.7", "MIT", drawn=True),
    IconSet("emojione", "1.2.3", "CC-BY-4.0", drawn=True),
    # Share-alike sets teach what things look like to the models that read images, and nothing to those that draw.
    IconSet("openmoji", "1.2.29", "CC-BY-SA-4.0", drawn=False),
    IconSet("emojione-v1", "1.2.3", "CC-BY-SA-4.0", drawn=False),
)


@dataclass(frozen=True)
class Emoji:
    """One of Unicode's emoji: its English name, subject group, subgroup and keywords."""

    name: str
    group: str
    subgroup: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Icon:
    """An emoji as one vendor draws it; `svg` is a whole document."""

    emoji: Emoji
    source: str
    drawn: bool
    svg: str


def fetch(folder: Path, sets: Sequence[IconSet] = SETS) -> None:
    """Download the packages into `folder` by npm, which checks their integrity; nothing if they are there."""
    packages = [icon_set.package for icon_set in sets] + [EMOJIBASE]
    folder.mkdir(parents=True, exist_ok=True)
    asked_for = folder / "packages.txt"
    if asked_for.exists() and asked_for.read_text().split() == packages:
        return
    flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    (folder / "package.json").write_text('{"private": true}\n')
    subprocess.run(["npm", "install", *flags, *packages], cwd=folder, check=True)
    asked_for.write_text("\n".join(packages) + "\n")


def read_icons(folder: Path, sets: Sequence[IconSet] = SETS) -> Iterator[Icon]:
    """Every icon of every set that is an emoji, without flags and skin tones; sets in the order of `sets`."""
    modules = folder / "node_modules"
    emoji = _read_emoji(modules / "emojibase-data")
    by_set = {icon_set: _read_set(modules / "@iconify-json" / icon_set.name) for icon_set in sets}
    # Sets without a table of characters use the same names as those that have one.
    names = {_slug(each.name): hexcode for hexcode, each in emoji.items()}
    for _, characters in by_set.values():
        names |= {name: _plain(hexcode) for hexcode, name in characters.items() if _plain(hexcode) in emoji}
    for icon_set, (document, characters) in by_set.items():
        own = {name: _plain(hexcode) for hexcode, name in characters.items()}
        for name, body in document["icons"].items():
            hexcode = own.get(name) if own else names.get(name)
            if hexcode in emoji:
                width = body.get("width", document.get("width", 16))
                height = body.get("height", document.get("height", 16))
                svg = (
                    f'<svg xmlns="{SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{body.get("left", 0)} {body.get("top", 0)} {width} {height}">{body["body"]}</svg>'
                )
                yield Icon(emoji[hexcode], icon_set.name, icon_set.drawn, svg)


def _read_emoji(folder: Path) -> dict[str, Emoji]:
    meta = json.loads((folder / "meta" / "groups.json").read_text())
    emoji: dict[str, Emoji] = {}
    for entry in json.loads((folder / "en" / "data.json").read_text()):
        group = meta["groups"].get(str(entry.get("group")))
        if group not in (None, "component", "flags"):
            subgroup = meta["subgroups"][str(entry["subgroup"])]
            emoji[_plain(entry["hexcode"])] = Emoji(entry["label"], group, subgroup, tuple(entry.get("tags", ())))
    return emoji


def _read_set(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    characters = folder / "chars.json"
    return (
        json.loads((folder / "icons.json").read_text()),
        json.loads(characters.read_text()) if characters.exists() else {},
    )


def _plain(hexcode: str) -> str:
    """Without the selector that asks for a colour picture, which sets write or leave out as they like."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def rasterise(svg: str, size: int) -> np.ndarray:
    """The drawing on white, as [size, size, 3] uint8; drawn at twice the size and reduced by a box filter."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, height=2 * size, background="white")
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    canvas = Image.new("RGB", (2 * size, 2 * size), "white")  # a drawing that is not square comes out smaller
    canvas.paste(image, ((2 * size - image.width) // 2, (2 * size - image.height) // 2))
    return np.asarray(canvas.reduce(2))


def restyled(svg: str, generator: np.random.Generator) -> str:
    """The same drawing in another style: flat, outlined, in shifted colours, grey, or as a line drawing, at random.

    Between vendors the subject's shape stays and these change; a model that has seen few vendors learns so what to
    ignore. Shifts of hue are small, for colour belongs to the subject.
    """
    root = ElementTree.fromstring(svg)
    flat, outlined, shifted = (generator.random(3) < (0.6, 0.35, 0.7)).tolist()
    line_drawing, grey = (generator.random(2) < (0.06, 0.06)).tolist()
    if flat:
        _flatten(root)
    if shifted or grey or line_drawing:
        _recolour(root, generator, grey, line_drawing)
    if outlined or line_drawing:
        side = float(root.attrib["viewBox"].split()[2])
        ink = int(generator.integers(0, 80))
        group = ElementTree.Element(f"{{{SVG}}}g", {"stroke": f"#{ink:02x}{ink:02x}{ink:02x}"})
        group.attrib["stroke-width"] = f"{side * generator.uniform(0.008, 0.035):.3f}"
        group.attrib["stroke-linejoin"] = "round"
        group.extend(list(root))
        for child in list(root):
            root.remove(child)
        root.append(group)
    return ElementTree.tostring(root, encoding="unicode")


def _flatten(root: ElementTree.Element) -> None:
    """One colour per gradient, and no blurs, glows or see-through layers of light."""
    for element in root.iter():
        if element.tag.endswith("Gradient"):
            stops = [stop for stop in element if "stop-color" in stop.attrib]
            colours = [ImageColor.getrgb(stop.attrib["stop-color"])[:3] for stop in stops]
            for stop in stops:
                stop.attrib["stop-color"] = _hex(np.mean(colours, axis=0))
        if "filter" in element.attrib:
            del element.attrib["filter"]


def _recolour(root: ElementTree.Element, generator: np.random.Generator, grey: bool, line_drawing: bool) -> None:
    hue, saturation, value = generator.normal(0, 0.02), generator.uniform(0.6, 1.4), generator.uniform(0.75, 1.25)
    new: dict[str, str] = {}
    for element in root.iter():
        for attribute in ("fill", "stroke", "stop-color"):
            old = element.attrib.get(attribute, "none")
            if old == "none" or old.startswith(("url", "current", "inherit", "var")):
                continue
            if old not in new:
                h, s, v = colorsys.rgb_to_hsv(*(part / 255 for part in ImageColor.getrgb(old)[:3]))
                own = generator.normal(0, (0.012, 0.08, 0.06))
                s = 0.0 if grey else min(1.0, max(0.0, s * saturation + own[1] * (s > 0.1)))
                v = min(1.0, max(0.0, v * value + own[2]))
                new[old] = _hex(np.multiply(colorsys.hsv_to_rgb((h + hue + own[0]) % 1.0, s, v), 255))
            paper = "#303030" if attribute == "stroke" else "#ffffff"
            element.attrib[attribute] = paper if line_drawing else new[old]


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{round(float(part)):02x}" for part in colour)
