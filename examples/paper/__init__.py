"""The figures of Fang et al. (2022), doi:10.1162/neco_a_01505: ``python -m examples.paper FIGURE -o OUT`` in a checkout."""
