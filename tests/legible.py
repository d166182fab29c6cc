"""What tests of figures ask each of them: that no words of it are cut, nor lie over each other."""

from itertools import combinations

from matplotlib.axis import Axis
from matplotlib.text import Text

TOUCH = 1.0  # pixels by which boxes may overlap: a box is larger than what is drawn in it


def illegible(fig):
    """Return the words beyond the edge of a figure, and the pairs that lie over each other."""
    fig.draw_without_rendering()
    edge, found = fig.bbox, []
    shown = [(text.get_text(), text.get_window_extent()) for text in _texts(fig)]
    for words, box in shown:
        if box.x0 < -TOUCH or box.y0 < -TOUCH or box.x1 > edge.x1 + TOUCH or box.y1 > edge.y1 + TOUCH:
            found.append((words, "the edge"))
    for (a, box), (b, other) in combinations(shown, 2):
        if box.padded(-TOUCH).overlaps(other.padded(-TOUCH)):
            found.append((a, b))
    return found


def _texts(fig):
    """Yield what is written, without ticks that are not within their axes."""
    ticks = {}
    for ax in fig.findobj(Axis):
        low, high = sorted(ax.get_view_interval())
        slack = 1e-9 * (high - low)
        for tick in [*ax.get_major_ticks(), *ax.get_minor_ticks()]:
            for label in (tick.label1, tick.label2):
                ticks[label] = low - slack <= tick.get_loc() <= high + slack
    for text in fig.findobj(Text):
        if text.get_visible() and text.get_text().strip() and ticks.get(text, True) and _drawn(text):
            yield text


def _drawn(text):
    return text.axes is None or ((text.axes.get_visible() and text.axes.axison) or text in text.axes.texts)
