"""What a command puts into its folder: numbers, figures, and the page that shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitlsc.io import output as out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from circuitlsc.io.report import Report
    from circuitlsc.reporting.page import Picture, Series


@dataclass
class Results:
    """The folder in which results come into being.

    Attributes
    ----------
    folder : pathlib.Path
    title : str
        What is done.
    line, again : str
        The command that repeats it, and what does so in the folder itself (empty: nothing does).
    report : Report or None
        What was found: given before the end.
    series : tuple of Series
        Numbers that stand beside those of other runs.
    views : dict
        Data of interactive views.
    simulator : str
        What simulated, with its version.
    """

    folder: Path
    title: str
    line: str
    again: str
    report: Report | None = None
    series: tuple[Series, ...] = ()
    views: dict[str, Any] = field(default_factory=dict)
    simulator: str = ""
    _pictures: list[Picture] = field(default_factory=list)

    def write(self, name: str, numbers: Any) -> None:
        """Write numbers as JSON."""
        out.write_json(self.folder / name, numbers)

    def draw(self, name: str, figure: Figure, caption: str) -> None:
        """Write a figure as PNG of that name, and as SVG for the page."""
        from circuitlsc.reporting.page import Picture
        from circuitlsc.reporting.plotting import described, save_figure

        path = self.folder / name
        save_figure(figure, path)
        save_figure(figure, path.with_suffix(".svg"))
        greys = any(ax.images for ax in figure.axes)
        self._pictures.append(Picture(path.with_suffix(".svg").name, caption, greys, described(figure)))

    def close(self) -> None:
        """Write the page."""
        import platform
        from importlib.metadata import version

        from circuitlsc.reporting.page import Page

        assert self.report is not None, "a command says what it found"
        versions = {name: version(name) for name in ("circuitlsc", "numpy")}
        versions |= {"Python": platform.python_version(), **({"simulator": self.simulator} if self.simulator else {})}
        shown = (tuple(self._pictures), versions, tuple(self.series), self.views, self.again)
        page = Page(self.title, self.line, self.report, *shown)
        page.save(self.folder)
