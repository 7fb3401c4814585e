"""The network that ships with this version, ``network.net``, and its card, ``network.md``, made by ``make package``.

Data alone: nothing imports this package, so that no step of a build depends on what lies here.
"""
