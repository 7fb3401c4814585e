"""Every kind of layer that netx builds: outputs, states and events of all layers as stock Lava has them, to the bit."""

import warnings

import h5py
import numpy as np
import pytest

from network_files import write_layers
from spandex.deploy import Executor
from spandex.deploy.execution import processes_forgotten
from stock_lava import modelled, stock_network

STEPS = 40
