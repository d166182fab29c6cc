"""``python -m examples.paper FIGURE -o OUT``, in a checkout."""

from __future__ import annotations

import typer

from circuitlsc.cli.main import main
from circuitlsc.cli.studies import Figure, FigureFolder, FigureSeed, Software
from examples.paper.command import make_figure

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def paper(name: Figure, output: FigureFolder = None, seed: FigureSeed = 0, software: Software = False) -> None:
    """Make a figure of a paper, with the numbers behind it.

    fig3, fig4a and fig5 are about inference on bars, in software and as circuits. fig4b, fig6 and fig7 (bars) and fig8 and
    fig9 (natural patches) are about learning, in software: minutes, the last two half an hour each.

    In kind after Fallah & Rozell (2022), in software, minutes each: vsc-gradients (noise and bias of gradients from J draws),
    vsc-max (their average against the best of them), vsc-patches (dictionaries of patches by the variational and by the
    sampling learner) and vsc-laws (thresholded laws beside others).

    After Taniguchi et al. (2022), in software, minutes each: ald-points (codes of a few points by steps of weights, against
    exact laws), ald-hold (a sampler with a memory beside one without, over how long inputs are held), lae-batch (what
    batches do to a Langevin autoencoder) and lae-digits (it, a variational autoencoder and warm-started Langevin steps, on
    digits).
    """
    make_figure(name, output, seed, software)


if __name__ == "__main__":
    main(app, "python -m examples.paper")
