"""Marks of the trade-off plot: bounds and ticks, then points and their numbers."""

from __future__ import annotations

from markupsafe import Markup

from packlight.presentation.markup import element, join
from packlight.presentation.numbers import SCALES, show_named, show_number
from packlight.report.labels import minus
from packlight.report.plot_axes import Box, Label, place_labels, ticks
from packlight.report.plot_scene import Point, Scene

DOT = 5.0
CHARACTER = 6.7
BOLD = 7.6
"""Widths of a digit and of a character of a bound's name, in pixels."""
ROWS = 7


def ground(scene: Scene) -> list[Markup]:
    """Marks under the points: the budget's region and edges, ticks, and axis names."""
    frame = scene.canvas.frame()
    shape = region(scene)
    box = {"x": shape.left, "y": shape.top}
    size = {"width": shape.right - shape.left, "height": shape.bottom - shape.top}
    marks = [*_axis_across(scene, frame), *_axis_up(scene, frame), *edges(scene, frame)]
    if scene.bounds:
        marks.insert(0, element("rect", **box, **size, class_="region"))
    return marks


def region(scene: Scene) -> Box:
    """Part of the plot within the budget."""
    box = scene.canvas.frame()
    if "size" in scene.bounds:
        box = box._replace(right=scene.across.at(scene.bounds["size"][0]))
    if "drop" in scene.bounds:
        box = box._replace(top=scene.down.at(scene.bounds["drop"][0]))
    return box


def edges(scene: Scene, frame: Box) -> list[Markup]:
    """Bounds on the scale, with their texts."""
    shape = region(scene)
    drawn = []
    if "size" in scene.bounds and scene.across.holds(scene.bounds["size"][0]):
        drawn += [
            element("line", x1=shape.right, x2=shape.right, y1=frame.top, y2=frame.bottom,
                    class_="bound"),
            _bound_name(scene.bounds["size"][1], _size_name(scene, frame)),
        ]  # fmt: skip
    if "drop" in scene.bounds and scene.down.holds(scene.bounds["drop"][0]):
        drawn += [
            element("line", x1=frame.left, x2=frame.right, y1=shape.top, y2=shape.top,
                    class_="bound"),
            _bound_name(scene.bounds["drop"][1], _drop_name(scene, frame)),
        ]  # fmt: skip
    return drawn


def _size_name(scene: Scene, frame: Box) -> Box:
    width = BOLD * len(scene.bounds["size"][1])
    middle = max(region(scene).right, frame.left + width / 2)
    middle = min(middle, frame.right - width / 2)
    return Box(middle - width / 2, frame.top - 18, middle + width / 2, frame.top - 4)


def _drop_name(scene: Scene, frame: Box) -> Box:
    width = BOLD * len(scene.bounds["drop"][1])
    y = region(scene).top
    return Box(frame.right - width - 2, y - 17, frame.right - 2, y - 3)


def _bound_name(text: str, box: Box) -> Markup:
    x = (box.left + box.right) / 2
    return element("text", text, x=x, y=box.bottom - 3, text_anchor="middle", class_="bound-name")


def _axis_across(scene: Scene, frame: Box) -> list[Markup]:
    """Ticks and name of the size axis."""
    high = scene.across.high
    scale = next(scale for scale in SCALES["B"] if high >= scale.size or scale.size == 1)
    drawn = [
        element("text", f"file size,{scale.label}", x=(frame.left + frame.right) / 2,
                y=scene.canvas.height - 6, text_anchor="middle", class_="axis-name")
    ]  # fmt: skip
    for value in ticks(0.0, high / scale.size, scene.canvas.ticks):
        x = scene.across.at(value * scale.size)
        drawn += [
            element("line", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4, class_="tick"),
            element("text", f"{value:g}", x=x, y=frame.bottom + 18, text_anchor="middle"),
        ]
    return drawn


def _axis_up(scene: Scene, frame: Box) -> list[Markup]:
    """Ticks with lines across, and name of the drop axis."""
    drawn = [element("text", f"{scene.metric} drop, %", x=2, y=14, class_="axis-name")]
    for value in ticks(scene.down.low * 100, scene.down.high * 100, ROWS):
        y = scene.down.at(value / 100)
        kind = "grid" if value else "zero"
        drawn += [
            element("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_=kind),
            element("text", minus(f"{value:g}"), x=frame.left - 8, y=y + 4, text_anchor="end"),
        ]
    return drawn


def figures(scene: Scene) -> list[Markup]:
    """Whiskers, then points with the chosen one last, then numbers."""
    order = sorted(scene.points, key=lambda point: point.mark == "chosen")
    whiskers = [_whisker(point, scene) for point in scene.points]
    return [*whiskers, *(_dot(point, scene) for point in order), *numbers(scene)]


def _whisker(point: Point, scene: Scene) -> Markup:
    column = _reach(point, scene)
    x = (column.left + column.right) / 2
    return element("line", x1=x, x2=x, y1=column.top, y2=column.bottom, class_="whisker")


def _reach(point: Point, scene: Scene) -> Box:
    x = scene.across.at(point.size)
    return Box(x - 1, scene.down.at(point.drop.high), x + 1, scene.down.at(point.drop.low))


def _dot(point: Point, scene: Scene) -> Markup:
    return element(
        "g", element("title", describe(point)), symbol(scene.mark(point), *scene.pixel(point))
    )


def describe(point: Point) -> str:
    """Number, name, size and drop of a point, in words."""
    size = show_number("size", point.size, "B")
    return f"{point.number} {point.name}: {size}, drop {minus(show_named('drop', point.drop))}"


def symbol(kind: str, x: float, y: float) -> Markup:
    """Mark for a kind of point, or for the region in the legend."""
    if kind == "beyond":
        corners = f"{x - DOT:.2f},{y + DOT:.2f} {x + DOT:.2f},{y + DOT:.2f} {x:.2f},{y - DOT:.2f}"
        return element("polygon", points=corners, class_="dot beyond")
    if kind == "region":
        return element("rect", x=x - 7, y=y - 5, width=14, height=10, class_="region")
    circle = element("circle", cx=x, cy=y, r=DOT - 0.5, class_=f"dot {kind}")
    if kind != "chosen":
        return circle
    return join([circle, element("circle", cx=x, cy=y, r=DOT + 2.5, class_="ring")])


def numbers(scene: Scene) -> list[Markup]:
    """Numbers next to points, with a line to those farther away."""
    frame = scene.canvas.frame()
    pixels = [scene.pixel(point) for point in scene.points]
    obstacles = [Box(x - DOT - 1, y - DOT - 1, x + DOT + 1, y + DOT + 1) for x, y in pixels]
    obstacles += [_reach(point, scene) for point in scene.points]
    if "drop" in scene.bounds:
        obstacles.append(_drop_name(scene, frame))
    widths = [CHARACTER * len(str(point.number)) + 2 for point in scene.points]
    placed = place_labels(pixels, widths, obstacles, frame)
    return [
        _number(pixel, label, point)
        for pixel, label, point in zip(pixels, placed, scene.points, strict=True)
    ]


def _number(pixel: tuple[float, float], label: Label, point: Point) -> Markup:
    x = (label.box.left + label.box.right) / 2
    y = (label.box.top + label.box.bottom) / 2
    leader = element("line", x1=pixel[0], y1=pixel[1], x2=x, y2=y, class_="leader")
    kind = f"label {point.mark}"
    shown = element("text", str(point.number), x=x, y=y + 4, text_anchor="middle", class_=kind)
    if not label.far:
        return shown
    return join([leader, shown])
