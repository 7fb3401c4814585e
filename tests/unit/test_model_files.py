import h5py
import pytest
import torch
from torch.nn.utils import prune

from networks import hdf5_content
from spandex.errors import SpandexError
from spandex.evaluation import load_subject
from spandex.networks import SDNN, denoise, export_hdf5, from_hdf5, load_network, load_state, save_state
from spandex.steps.own import starting_network


def build(seed=0, **settings):
    torch.manual_seed(seed)
    network = SDNN(**{"hidden": 8, **settings})
    for block in network.blocks[1:3]:
        block.delay.delay.data *= 20
    return network


def states_equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_state_returns_unchanged(tmp_path):
    network = build(1)
    save_state(network, tmp_path / "network.pt")
    other = build(2)
    assert not states_equal(network, other)
    load_state(other, tmp_path / "network.pt")
    assert states_equal(network, other)


def test_equal_weights_give_equal_bytes_whatever_the_path(tmp_path):
    network = build(1)
    save_state(network, tmp_path / "a.pt")
    other = build(2)
    load_state(other, tmp_path / "a.pt")
    other(torch.rand(3, 257, 9)).sum().backward()
    save_state(other, tmp_path / "folder" / "a longer name.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "folder" / "a longer name.pt").read_bytes()
    save_state(build(3), tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() != (tmp_path / "folder" / "a longer name.pt").read_bytes()


def test_state_with_wrong_entries_is_refused_by_name(tmp_path):
    network = build()
    state = network.state_dict()
    del state["blocks.1.delay.delay"]
    state["blocks.9.weight"] = torch.ones(1)
    state["blocks.2.synapse.weight"] = torch.ones(7, 8, 1, 1, 1)
    path = tmp_path / "wrong.pt"
    torch.save(dict(state), path)
    with pytest.raises(SpandexError) as error:
        load_state(network, path)
    message = str(error.value)
    assert "\n" not in message
    for part in (str(path), "missing blocks.1.delay.delay", "unexpected blocks.9.weight", "(7, 8, 1, 1, 1)"):
        assert part in message


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "foreign", "list", "folder"])
def test_unreadable_state_is_refused_by_name(tmp_path, kind, capsys):
    path = tmp_path / "broken.pt"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a network\n" * 10)
    elif kind == "cut":
        save_state(build(), path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "foreign":
        torch.save({"weight": Payload()}, path)
    elif kind == "list":
        torch.save([torch.ones(2)], path)
    elif kind == "folder":
        path.mkdir()
    for load in (lambda: load_state(build(), path), lambda: load_network(path)):
        with pytest.raises(SpandexError) as error:
            load()
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({0: torch.ones(3)}, "not a state dict: expected names mapped to tensors"),
        ({"a": torch.ones(3, device="meta")}, "a is no plain tensor"),
    ],
    ids=["numbered", "without values"],
)
def test_tensors_without_names_or_values_are_no_state_dict(tmp_path, state, message):
    path = tmp_path / "broken.pt"
    torch.save(state, path)
    for load in (lambda: load_state(build(), path), lambda: load_network(path)):
        with pytest.raises(SpandexError, match=rf"broken\.pt: {message}$"):
            load()


def test_export_is_lava_dl_s_own_and_byte_identical(tmp_path):
    network = build(1)
    export_hdf5(network, tmp_path / "a.net")
    export_hdf5(network, tmp_path / "another name.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "another name.net").read_bytes()
    with h5py.File(tmp_path / "stock.net", "w") as file:
        group = file.create_group("layer")
        for i, block in enumerate(network.blocks):
            block.export_hdf5(group.create_group(f"{i}"))
    assert hdf5_content(tmp_path / "a.net") == hdf5_content(tmp_path / "stock.net")


def test_failed_export_leaves_the_old_file(tmp_path):
    network = build(1)
    export_hdf5(network, tmp_path / "a.net")
    before = (tmp_path / "a.net").read_bytes()
    network.blocks[3].synapse.pre_hook_fx = None
    with pytest.raises(TypeError):
        export_hdf5(network, tmp_path / "a.net")
    assert (tmp_path / "a.net").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.net"]


@pytest.mark.parametrize("settings", [{}, {"hidden": 5, "n_fft": 64, "threshold": 0.3}, {"max_delay": 90}])
def test_hdf5_returns_as_a_network_that_computes_the_same(tmp_path, settings):
    network = build(1, **settings)
    if "max_delay" in settings:
        network.blocks[1].delay.delay.data[0] = 85.5
    export_hdf5(network, tmp_path / "a.net")
    other = from_hdf5(tmp_path / "a.net")
    export_hdf5(other, tmp_path / "b.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()
    noisy = 3 * torch.rand(2, network.n_fft // 2 + 1, 100)
    assert torch.equal(network(noisy), other(noisy))
    assert (other.n_fft, other.hop) == (network.n_fft, network.n_fft // 4)


def test_long_delays_of_a_state_dict_are_kept(tmp_path):
    network = build(1, max_delay=120)
    network.blocks[1].delay.delay.data[0] = 100.5
    save_state(network, tmp_path / "network.pt")
    noisy = 3 * torch.rand(2, 257, 150)
    assert torch.equal(load_network(tmp_path / "network.pt")(noisy), network(noisy))


def test_empty_delay_of_a_state_dict_is_named(tmp_path):
    state = build(1).state_dict() | {"blocks.1.delay.delay": torch.zeros(0)}
    torch.save(state, tmp_path / "network.pt")
    with pytest.raises(SpandexError, match=r"network\.pt: .*blocks\.1\.delay\.delay is empty"):
        load_network(tmp_path / "network.pt")


def test_group_in_place_of_a_threshold_is_named(tmp_path):
    export_hdf5(build(1), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        neuron = file["layer/3/neuron"]
        del neuron["vThMant"]
        neuron.create_group("vThMant")
    with pytest.raises(SpandexError, match=r"a\.net: layer/3: neuron/vThMant holds no numbers"):
        from_hdf5(tmp_path / "a.net")


def test_load_network_takes_both_formats_and_any_width(tmp_path):
    network = build(1, hidden=11)
    save_state(network, tmp_path / "network.pt")
    export_hdf5(network, tmp_path / "network.net")
    assert states_equal(load_network(tmp_path / "network.pt"), network)
    assert states_equal(load_network(tmp_path / "network.net"), from_hdf5(tmp_path / "network.net"))


@pytest.mark.parametrize("name", ["network.pt", "network.net"])
def test_network_whose_frames_no_hop_divides_is_refused(tmp_path, name):
    path, network = tmp_path / name, build(1, n_fft=34, hop=17)
    (save_state if name.endswith("pt") else export_hdf5)(network, path)
    with pytest.raises(SpandexError, match=rf"{name}: frames of 34 samples are no multiple of the hop of 8"):
        load_network(path)
    loaded = load_network(path, hop=17)
    audio = torch.randn(1, 400)
    assert loaded.hop == 17 and denoise(loaded, audio).shape == audio.shape


def pruned_by_torch(network, share=0.75):
    """The state dict under torch's own pruning, and then the network with that made permanent."""
    pruned = [(block.synapse, "weight") for block in network.blocks[1:]]
    prune.global_unstructured(pruned, prune.L1Unstructured, amount=share)
    prune.random_unstructured(network.blocks[1].delay, "delay", amount=0.5)
    state = network.state_dict()
    for module, name in [*pruned, (network.blocks[1].delay, "delay")]:
        prune.remove(module, name)
    return state


def test_a_state_dict_that_torch_pruned_is_read_as_the_weights_it_stands_for(tmp_path):
    network = build(1)
    state = pruned_by_torch(network)
    assert {"blocks.2.synapse.weight_orig", "blocks.2.synapse.weight_mask", "blocks.1.delay.delay_orig"} <= state.keys()
    torch.save(state, tmp_path / "network.pt")
    other = build(2)
    load_state(other, tmp_path / "network.pt")
    export_hdf5(network, tmp_path / "network.net")
    subject = load_subject(tmp_path / "network.net", with_float=True, float_path=tmp_path / "network.pt")
    started, _ = starting_network(tmp_path / "network.pt", None, "{}", seed=0, output=tmp_path / "new")
    for loaded in (other, load_network(tmp_path / "network.pt"), subject.float_network, started):
        assert states_equal(loaded, network)
    weights = torch.cat([block.synapse.weight.flatten() for block in other.blocks[1:]])
    assert int((weights == 0).sum()) == round(0.75 * weights.numel())


@pytest.mark.parametrize("change", ["mask missing", "mask too short"])
def test_a_pruned_weight_without_a_mask_that_fits_is_refused_by_name(tmp_path, change):
    state = pruned_by_torch(build(1))
    path, key = tmp_path / "network.pt", "blocks.2.synapse.weight_mask"
    reason = "blocks.2.synapse.weight_orig is pruned, but its mask blocks.2.synapse.weight_mask is missing"
    mask = state.pop(key)
    if change == "mask too short":
        state[key] = mask[:7]
        reason = "blocks.2.synapse.weight_orig has shape (8, 8, 1, 1, 1), its mask (7, 8, 1, 1, 1)"
    torch.save(state, path)
    for load in (lambda: load_state(build(), path), lambda: load_network(path)):
        with pytest.raises(SpandexError) as error:
            load()
        assert str(error.value) == f"{path}: {reason}"


def test_a_network_that_is_itself_under_torch_s_pruning_keeps_its_own_names(tmp_path):
    networks = [build(seed) for seed in (1, 2)]
    for network in networks:
        prune.l1_unstructured(network.blocks[2].synapse, "weight", amount=0.5)
    save_state(networks[0], tmp_path / "network.pt")
    load_state(networks[1], tmp_path / "network.pt")
    assert states_equal(*networks)


@pytest.mark.parametrize("change", ["missing", "cut", "other", "layer", "weight", "text", "narrow"])
def test_hdf5_of_something_else_is_refused_by_name(tmp_path, change):
    path = tmp_path / "a.net"
    if change == "cut":
        export_hdf5(build(), path)
        path.write_bytes(path.read_bytes()[:4000])
    elif change != "missing":
        export_hdf5(build(), path)
        with h5py.File(path, "a") as file:
            if change == "other":
                del file["layer"]
            elif change == "layer":
                del file["layer/2"]
            elif change == "weight":
                del file["layer/2/weight"]
            elif change == "text":
                del file["layer/2/weight"]
                file["layer/2/weight"] = "text"
            elif change == "narrow":
                del file["layer/2/weight"]
                file["layer/2/weight"] = torch.ones(8, 7).numpy()
    with pytest.raises(SpandexError) as error:
        from_hdf5(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"(", b"\x80\x02r", b"\x80\x02h\x07.", b"\x80\x02X\xff\xff", b"PK\x03\x04", b"\x89HDF\r\n"]
)
def test_what_is_no_state_dict_is_refused_whatever_torch_stumbles_over(tmp_path, content):
    path = tmp_path / "network.pt"
    path.write_bytes(content)
    with pytest.raises(SpandexError, match=rf"^{path}: not a state dict written by torch \(.+\)$"):
        load_state(SDNN(hidden=8), path)
