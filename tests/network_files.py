"""Network files with layers of any kind, as lava-dl writes them."""

import h5py
import numpy as np

INTEGRATOR = {"type": b"CUBA", "iDecay": 1000, "vDecay": 300, "vThMant": 40, "refDelay": 1, "gradedSpike": False}
SIGMA_DELTA = {"type": b"SDNN", "vThMant": 6}
RESONATOR = {"type": b"RF_PHASE", "sinDecay": 700, "cosDecay": 3900, "vThMant": 60}


def write_layers(path, *layers):
    """A netx file of layers, dicts of what each group holds; a key "neuron" holds a dict in turn."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for key, value in layer.items():
                if key == "type":
                    group[key] = np.array([value.encode()])
                elif key == "neuron":
                    for name, constant in value.items():
                        group[f"neuron/{name}"] = constant
                else:
                    group[key] = value
    return path


def image(x, y, channels, neuron=SIGMA_DELTA):
    """An input layer; without neurons it only gives the shape."""
    return {"type": "input", "shape": [channels, y, x]} | ({"neuron": neuron} if neuron else {})


def dense(weight, neuron, **more):
    return {"type": "dense", "shape": [len(weight)], "weight": weight, "neuron": neuron} | more


def recurrent(weight, weight_rec, neuron, **more):
    return dense(weight, neuron, weight_rec=weight_rec, **more) | {"type": "dense_rec"}


def resonant(real, imaginary, neuron, **more):
    return {
        "type": "dense",
        "shape": [len(real)],
        "weight/real": real,
        "weight/imag": imaginary,
        "neuron": neuron,
    } | more


def convolution(weight, inputs, neuron, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, **more):
    """Of an input (x, y, channels); weight (channels out, channels of a group, rows, columns); pairs along y and x."""
    size = [
        (inputs[1 - k] + 2 * padding[k] - dilation[k] * (weight.shape[2 + k] - 1) - 1) // stride[k] + 1
        for k in range(2)
    ]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return {"type": "conv", "shape": [len(weight), *size], "weight": weight, "neuron": neuron} | geometry | more


def shape_of(layer):
    """x, y, channels of a layer's neurons."""
    return tuple(layer["shape"][::-1])


def weights(random, shape, largest=127):
    """Both signs and no odd ones beyond what 8 bits hold, so that netx keeps them."""
    found = random.integers(-largest, largest + 1, shape)
    found.flat[:2] = (1, -1)[: found.size]
    return found
