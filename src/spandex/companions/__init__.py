"""Small reproductions of other papers on sparse spiking networks, beside SPANDEX.

One package a paper: its experiments, and how its claims are judged. ``papers.py`` lists them. Nothing here is imported
by the pipeline of SPANDEX itself.
"""
