"""Sparsification of lava-dl networks while they train.

``Pruner`` removes single weights: a mask source tells which, a schedule how many and when. ``SaliencyPruner`` goes by
what they do to the loss for an operation. ``NeuronPruner`` removes whole neurons, and ``shrink`` takes them out of the
network. All are ``Sparsifier``s, which is what a training loop needs to know of a method, and so are those of other
papers: ``EventPenalty``, ``MaskSearch``, ``NoisePruner``.

Modules are loaded when something of theirs is first asked for, as ``__init__.pyi`` says, so that what is made with one
method does not depend on the code of another.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
