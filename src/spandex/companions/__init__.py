"""Small reproductions of other papers on sparse spiking networks, beside SPANDEX.

One package a paper: its experiments, and how its claims are judged. ``papers.py`` lists them. Of all this the pipeline
of SPANDEX itself knows the parameters, and what its report shows of papers that have run.
"""
