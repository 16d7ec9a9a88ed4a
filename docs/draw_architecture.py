"""Draw `architecture.svg`: the rooms of rsft and which room imports which, read from the code's own imports.

Run `python docs/draw_architecture.py` after a module or an import was added. Where each room stands is stated here; the
arrows and the numbers of files come from the code. An arrow that does not point downwards is an error.
"""

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PICTURE = Path(__file__).with_name("architecture.svg")
FLOOR, HEIGHT = 60, 42  # pixels from floor to floor, and of a box
ENTRY, FACE, CORE, GROUND = "#ffe7b8", "#cfe2ff", "#d3efd6", "#e3e3e8"
KEY = {ENTRY: "entry, tasks and report", FACE: "face", CORE: "core, one file each", GROUND: "foundations"}
NOWHERE = {
    "rsft",
    "rsft.__main__",
    "rsft.types",
    "rsft.groups",
    "rsft.missing",
    "rsft.per_item",
    "rsft.threads",
    "rsft.errors",
    "rsft.disk",
    *(f"rsft.disk.{name}" for name in ("access", "durable", "lock", "moves", "room", "tensors", "whole")),
}  # re-exports, and what every room may import
# Room -> its name in the picture, left and right edge in pixels, floor from the top, colour.
ROOMS = {
    "rsft.cli": ("cli", 16, 888, 0, ENTRY),
    "rsft.face": ("commands", 32, 344, 1.4, FACE),
    "rsft.tasks": ("tasks", 556, 888, 1.4, ENTRY),
    "rsft.face.runs": ("runs", 32, 344, 2.4, FACE),
    "rsft.report": ("report", 430, 520, 3.1, ENTRY),
    "rsft.face.adaptation": ("adaptation", 140, 344, 3.9, FACE),
    "rsft.ranking": ("ranking", 484, 584, 5, CORE),
    "rsft.scale": ("scale", 370, 450, 5, CORE),
    "rsft.pilot_plan": ("pilot_plan", 592, 678, 5, CORE),
    "rsft.compare": ("compare", 686, 888, 5, CORE),
    "rsft.face.pictures": ("pictures", 32, 124, 5, FACE),
    "rsft.baselines": ("baselines", 686, 780, 6, CORE),
    "rsft.face.evaluation": ("evaluation", 140, 232, 6.7, FACE),
    "rsft.face.networks": ("networks", 248, 344, 6.7, FACE),
    "rsft.plan": ("plan", 400, 780, 7, CORE),
    "rsft.arrival": ("arrival", 652, 744, 8, CORE),
    "rsft.pilot": ("pilot", 488, 558, 8, CORE),
    "rsft.promise": ("promise", 566, 644, 8, CORE),
    "rsft.thinning": ("thinning", 400, 480, 9, CORE),
    "rsft.verdict": ("verdict", 488, 660, 9, CORE),
    "rsft.pareto": ("pareto", 400, 480, 10, CORE),
    "rsft.envelope": ("envelope", 496, 588, 10, CORE),
    "rsft.histogram": ("histogram", 596, 676, 10, CORE),
    "rsft.law": ("law", 668, 744, 9, CORE),
    "rsft.sampling": ("sampling", 400, 588, 11, GROUND),
    "rsft.draw": ("draw", 734, 790, 11, CORE),
    "rsft.tuning": ("tuning", 240, 556, 12, GROUND),
    "rsft.evaluation": ("evaluation", 588, 688, 12, GROUND),
    "rsft.ratio": ("ratio", 700, 790, 12, GROUND),
    "rsft.run_folder": ("run_folder", 802, 888, 12, CORE),
    "rsft.data": ("data", 16, 888, 13, GROUND),
}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 904 918" font-family="sans-serif">
<style>.line{fill:none;stroke:#808080;stroke-width:1.4;marker-end:url(#head)} .note{font-size:13px;fill:#808080}
.box{text-anchor:middle;fill:#1b1f24} .name{font-size:14px;font-weight:600} .files{font-size:11.5px}</style>
<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8z" fill="#808080"/></marker>
<rect x="16" y="68" width="344" height="400" rx="10" fill="none" stroke="#808080" stroke-dasharray="5 4"/>
<text x="32" y="87" class="note">face</text>
<text x="16" y="891" class="note">An arrow says: imports. Left out are arrows that follow from others, \
those to types and errors, which every</text>
<text x="16" y="909" class="note">room may import, and those of the top level, which only passes names on.</text>"""


def read_rooms() -> tuple[Counter[str], dict[str, set[str]]]:
    """Return the number of files of each room, and for each room the rooms that it imports."""
    graph = grimp.build_graph("rsft", cache_dir=None)
    files, imports = Counter[str](), {room: set[str]() for room in ROOMS}
    for module in graph.modules - NOWHERE:
        room = room_of(module)
        files[room] += not graph.find_children(module)
        imports[room] |= {room_of(other) for other in graph.find_modules_directly_imported_by(module) - NOWHERE}
    return files, {room: others - {room} for room, others in imports.items()}


def room_of(module: str) -> str:
    """Return the room of a module: the innermost that contains it."""
    rooms = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    if not rooms:
        raise SystemExit(f"{module} has no place in the picture: give it one in ROOMS of docs/draw_architecture.py.")
    return max(rooms, key=len)


def arrows(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others; exit with a message at a circle or an upward import."""
    below: dict[str, set[str]] = {}
    try:
        for room in TopologicalSorter(imports).static_order():
            below[room] = imports[room].union(*(below[other] for other in imports[room]))
    except CycleError as error:
        raise SystemExit(f"rooms import one another in a circle: {' <- '.join(error.args[1])}") from error
    pairs = [(room, other) for room in ROOMS for other in sorted(imports[room])]
    upward = [f"{room} -> {other}" for room, other in pairs if ROOMS[other][3] <= ROOMS[room][3]]
    if upward:
        raise SystemExit(f"imports must point downwards, but not so {', '.join(upward)}")
    return [pair for pair in pairs if not any(pair[1] in below[between] for between in imports[pair[0]])]


def draw() -> str:
    """Return the picture as SVG."""
    files, imports = read_rooms()
    lines = [_arrow(room, other) for room, other in arrows(imports)]
    boxes = [_box(room, files[room], imports[room]) for room in ROOMS]
    keys = [
        f'<rect x="{x}" y="855" width="14" height="14" rx="3" fill="{colour}" stroke="#808080"/>'
        f'<text x="{x + 21}" y="867" class="note">{text}</text>'
        for x, (colour, text) in zip((16, 220, 300, 480), KEY.items(), strict=True)
    ]
    return "\n".join([HEAD, *lines, *boxes, *keys, "</svg>\n"])


def _arrow(room: str, other: str) -> str:
    """Return a line straight down where the boxes overlap, else one that leaves at the side and arrives from above."""
    (_, left, right, floor, _), (_, to_left, to_right, to_floor, _) = ROOMS[room], ROOMS[other]
    middle, end = 12 + floor * FLOOR + HEIGHT / 2, 11 + to_floor * FLOOR
    low, high = max(left, to_left), min(right, to_right)
    if low < high:
        return f'<path class="line" d="M{(low + high) / 2:g} {middle + HEIGHT / 2:g}V{end:g}"/>'
    side, x = (right, 0.7 * to_left + 0.3 * to_right) if right < to_left else (left, 0.3 * to_left + 0.7 * to_right)
    return f'<path class="line" d="M{side} {middle:g}C{x:g} {middle:g} {x:g} {middle:g} {x:g} {end:g}"/>'


def _box(room: str, files: int, imports: set[str]) -> str:
    name, left, right, floor, colour = ROOMS[room]
    x, y = (left + right) / 2, 12 + floor * FLOOR
    return (
        f'<g class="box"><title>{room} imports {", ".join(sorted(imports)) or "no other room"}</title>'
        f'<rect x="{left}" y="{y:g}" width="{right - left}" height="{HEIGHT}" rx="6" fill="{colour}" stroke="#808080"/>'
        f'<text x="{x:g}" y="{y + 18:g}" class="name">{name}</text>'
        f'<text x="{x:g}" y="{y + 34:g}" class="files">{files} file{"s" * (files != 1)}</text></g>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
