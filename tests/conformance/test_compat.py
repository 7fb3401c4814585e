import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from lava.lib.dl.netx.hdf5 import Network
from lava.lib.dl.netx.utils import NetDict
from lava.magma.core.process.ports.ports import ReshapePort

HDF5, UTILS, PORTS = (
    "lava.lib.dl.netx.hdf5",
    "lava.lib.dl.netx.utils",
    "lava.magma.core.process.ports.ports",
)
SPIKE_EXP, STATE_EXP = 6, 6  # netx's own for sigma-delta networks
THRESHOLDS = [np.int8(8), np.int16(8), np.int32(8)]


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def without(module: str, code: str) -> subprocess.CompletedProcess:
    """Run code with that module of Lava's as it is."""
    patches = "for patches in (compat._AROUND_IMPORT, compat._AFTER_IMPORT): patches.pop(name, None)"
    return python(f"from spandex import compat\nname = {module!r}\n{patches}\n{code}")


def input_layer(folder: Path, threshold: np.integer) -> Path:
    """A file with a sigma-delta network's input, whose weight and bias are arrays of one element."""
    with h5py.File(folder / "network.net", "w") as file:
        layer = file.create_group("layer/0")
        layer["type"], layer["shape"] = np.bytes_("input"), np.array([3])
        layer["weight"], layer["bias"] = np.array([64]), np.array([5])
        layer["neuron/type"], layer["neuron/vThMant"] = np.bytes_("SDNN"), threshold
    return folder / "network.net"


def stock_threshold(path: Path, without_patch: str) -> subprocess.CompletedProcess:
    """The threshold in Lava of that file's input, as netx has it without a patch."""
    code = f"""
from lava.lib.dl.netx.hdf5 import Network
from lava.lib.dl.netx.utils import NetDict
layer, _ = Network.create_input(NetDict({str(path)!r})["layer"][0])
print(int(layer.neuron.vth.init))
"""
    return without(without_patch, code)


def test_lava_imports_after_spandex_and_says_nothing():
    done = python("import spandex; import lava.lib.dl.slayer; from lava.lib.dl.netx import hdf5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_stock_lava_still_needs_the_hook():
    done = python("import lava.magma.compiler.var_model")
    assert "ByteEncoder" in done.stderr


def test_hook_changes_nothing_but_the_hash_of_one_class():
    code = """
import spandex, dataclasses
from lava.magma.compiler import var_model
assert hash(var_model.ByteEncoder(1, 2, 3)) == hash(var_model.ByteEncoder(1, 2, 3))
assert var_model.CoreEncoder.__hash__ is None
assert dataclasses.dataclass.__module__ == "dataclasses"
"""
    assert python(code).returncode == 0


def test_lava_sets_its_start_method_where_another_was_set():
    code = """
import spandex, multiprocessing
multiprocessing.set_start_method("spawn")
from lava.magma.runtime.message_infrastructure import multiprocessing as lava
print(multiprocessing.get_start_method())
"""
    assert python(code).stdout == "fork\n"


def test_object_detection_is_imported_when_it_is_used():
    code = """
import spandex, sys
from lava.lib.dl import slayer
assert "torchvision" not in sys.modules
slayer.obd.yolo_base.YOLOBase
assert "torchvision" in sys.modules
"""
    done = python(code)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_looking_through_all_modules_imports_nothing_more():
    code = """
import spandex, inspect, sys
from lava.lib.dl import slayer, netx
from scipy import signal
import matplotlib.pyplot
inspect.getmodule(lambda: None, "no such file")
assert "torchvision" not in sys.modules
assert "scipy.signal._signaltools" not in sys.modules
assert "matplotlib.backend_bases" not in sys.modules
assert signal.windows.hann(4)[0] == 0
assert callable(matplotlib.pyplot.figure)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_star_import_takes_everything():
    assert python("import spandex; from scipy.signal import *; convolve").returncode == 0


def test_netx_reads_weights_that_are_arrays_of_one_element(tmp_path):
    layer, _ = Network.create_input(NetDict(str(input_layer(tmp_path, np.int32(8))))["layer"][0])
    assert layer.transform == {"weight": 64, "bias": 5}


def test_stock_netx_still_takes_int_of_such_arrays(tmp_path):
    done = stock_threshold(input_layer(tmp_path, np.int32(8)), HDF5)
    assert "only 0-dimensional arrays can be converted" in done.stderr


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.dtype.name)
def test_threshold_of_any_width_is_that_of_lava(tmp_path, threshold):
    layer, _ = Network.create_input(NetDict(str(input_layer(tmp_path, threshold)))["layer"][0])
    assert layer.neuron.vth.init == 8 * 2 ** (SPIKE_EXP + STATE_EXP)


def test_stock_netx_still_overflows_where_a_threshold_has_8_or_16_bits(tmp_path):
    assert "OverflowError" in stock_threshold(input_layer(tmp_path, np.int8(8)), UTILS).stderr
    assert stock_threshold(input_layer(tmp_path, np.int16(8)), UTILS).stdout == "-32768\n"
    assert stock_threshold(input_layer(tmp_path, np.int32(8)), UTILS).stdout == "32768\n"


def test_other_entries_of_a_file_are_as_they_are(tmp_path):
    path = input_layer(tmp_path, np.int8(8))
    with h5py.File(path, "a") as file:
        file["layer/0/neuron/tauRho"] = np.float32(0.5)
    layer = NetDict(str(path))["layer"][0]
    assert layer["type"] == "input"
    assert layer["neuron"]["tauRho"].dtype == np.float32
    assert list(layer["shape"]) == [3]


def test_reshaped_ports_transform_both_ways():
    port = ReshapePort((2, 3), (6,))
    data = np.arange(6)
    assert np.array_equal(port.get_transform_func_fwd()(data), data.reshape(2, 3))
    assert np.array_equal(port.get_transform_func_bwd()(data.reshape(2, 3)), data)


def test_stock_reshaped_port_still_uses_the_name_that_is_gone():
    code = f"""
import numpy as np
from {PORTS} import ReshapePort
ReshapePort((2, 3), (6,)).get_transform_func_fwd()(np.arange(6))
"""
    assert "newshape" in without(PORTS, code).stderr


def test_models_of_a_process_are_those_of_stock_lava_from_one_look_into_each_folder():
    code = """
import spandex, collections, importlib.machinery
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
from lava.proc.dense import models
from lava.proc.dense.process import Dense
import numpy as np
runs, execute = collections.Counter(), importlib.machinery.SourceFileLoader.exec_module
def counted(loader, module):
    runs[loader.path] += 1
    execute(loader, module)
importlib.machinery.SourceFileLoader.exec_module = counted
find = ProcGroupDiGraphs._find_proc_models
found = []
for search in (find, find.__wrapped__):
    runs.clear()
    found.append(search(Dense(weights=np.eye(2))))
    print(max(runs.values()))
assert found[0] == found[1] and len(found[0]) > 1
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    ours, stock = map(int, done.stdout.split())
    assert ours == 1 < stock


def test_cuda_code_of_lava_dl_is_compiled_for_the_gpu_that_is_there():
    code = """
import torch
torch.cuda.is_available, torch.cuda.get_device_capability = lambda: True, lambda device: (9, 0)  # an H100
from lava.lib.dl.slayer import jitconfig
print(jitconfig.TORCH_CUDA_ARCH_LIST)
"""
    assert python(f"import spandex\n{code}").stdout == "None\n"
    assert without("lava.lib.dl.slayer.jitconfig", f"compat.install()\n{code}").stdout == "8.0\n"
