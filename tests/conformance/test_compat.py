import subprocess
import sys


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


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
