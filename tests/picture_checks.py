"""What tests of schematics ask a figure: its labels, and which of them touch something."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg


def rendered(fig):
    return FigureCanvasAgg(fig).get_renderer()


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts if text.get_text()]


def collisions(fig):
    """Return the labels that touch another label or a line, and those beyond the edge."""
    renderer, ax = rendered(fig), fig.axes[0]
    labels = [text for text in ax.texts if text.get_text()]
    boxes = [text.get_window_extent(renderer).padded(-1.0) for text in labels]
    paths = [line.get_transform().transform_path(line.get_path()) for line in ax.lines]
    paths += [patch.get_transform().transform_path(patch.get_path()) for patch in ax.patches]
    found = []
    for (a, box), (b, other) in itertools.combinations(zip(labels, boxes, strict=True), 2):
        if box.overlaps(other):
            found.append((a.get_text(), b.get_text()))
    for label, box in zip(labels, boxes, strict=True):
        if any(path.intersects_bbox(box, filled=False) for path in paths):
            found.append((label.get_text(), "a line"))
        if box.x0 < 0 or box.y0 < 0 or box.x1 > fig.bbox.x1 or box.y1 > fig.bbox.y1:
            found.append((label.get_text(), "the edge"))
    return found
