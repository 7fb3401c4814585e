import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import snntorch.surrogate
import torch
from scipy import linalg, stats
from scipy.integrate import trapezoid
from tests.image_mirror import image_mirror

import companion_sizes
from spandex.companions.lyapunov import attractor, cifar10, claims, lorenz63, pruning
from spandex.companions.lyapunov.network import (
    Recurrent,
    Simulation,
    jacobians,
    make_network,
    noise_driven,
    surrogate,
    time_constants,
)
from spandex.companions.lyapunov.pruned_network import digest, pruned_network
from spandex.companions.lyapunov.readout import Readout
from spandex.companions.lyapunov.spectrum import Spectrum, map_spectrum
from spandex.companions.lyapunov.variants import VARIANTS, any_of, most_active
from spandex.companions.work import Work
from spandex.params.companions.lyapunov import Lyapunov, Network
from spandex.report.claims import Verdict

NETWORK = companion_sizes.TOY["lyapunov"]["network"]
TOY = Lyapunov(**companion_sizes.TOY["lyapunov"])


class Log(dict):
    add = dict.__setitem__


def network(weights, tau=5.0, bias=0.0) -> Recurrent:
    size = len(weights)
    return Recurrent(
        weights=np.asarray(weights, np.float64),
        tau=np.full(size, tau),
        rank=np.linspace(0.1, 0.9, size),
        bias=np.full(size, bias),
        origin=np.arange(size),
        original=size,
    )


# Lyapunov spectra


def test_lorenz63_has_its_known_exponents():
    step = 0.01  # time units
    states = attractor.trajectory(50_000, step, seed=0)
    middles = (states[:-1] + states[1:]) / 2
    flow = [
        [[-attractor.SIGMA, attractor.SIGMA, 0], [attractor.RHO - z, -1, -x], [y, x, -attractor.BETA]]
        for x, y, z in middles
    ]
    found = map_spectrum(linalg.expm(step * np.array(flow)), settle=1000, every=10)
    # Over 250 time units the exponent varies by 0.02 from piece to piece, over 500 by 0.013.
    assert found.largest / step == pytest.approx(attractor.LARGEST_EXPONENT, abs=0.03)
    assert found.exponents[1] / step == pytest.approx(0, abs=0.01)  # along the flow
    assert found.exponents.sum() / step == pytest.approx(-(attractor.SIGMA + 1 + attractor.BETA), abs=1e-5)
    assert found.local.sum() == pytest.approx(found.exponents.sum())


def test_logistic_map_has_the_exponent_ln_2():
    x, slopes = 0.3, []
    for _ in range(20_000):
        slopes.append(np.array([[4 - 8 * x]]))
        x = 4 * x * (1 - x)
    assert map_spectrum(slopes).largest == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.parametrize("every", [1, 4])
def test_constant_map_has_the_logarithms_of_its_eigenvalues(every):
    values = np.array([1.5, 0.9, 0.5, 0.2])
    vectors = np.random.default_rng(0).normal(0, 1, (4, 4))
    matrix = vectors @ np.diag(values) @ np.linalg.inv(vectors)
    found = map_spectrum([matrix] * 402, settle=101, every=every)
    np.testing.assert_allclose(found.exponents, np.log(values), atol=1e-6)
    assert found.local.sum() == pytest.approx(np.log(values).sum())


def test_uncoupled_coordinates_have_exponents_of_their_own():
    factors = np.array([0.3, 0.9, 0.6])
    found = map_spectrum([np.diag(factors)] * 10, every=3)
    np.testing.assert_allclose(found.local, np.log(factors))
    np.testing.assert_allclose(found.exponents, np.log([0.9, 0.6, 0.3]))


# Network


def test_network_follows_its_equation():
    rng = np.random.default_rng(0)
    lif = make_network(Network(**NETWORK), 0, heterogeneous=True)
    currents = rng.normal(0, 1, (50, lif.neurons))
    simulation = Simulation(lif)
    v, s, fired = np.zeros(lif.neurons), np.zeros(lif.neurons), 0
    for current in currents:
        v = lif.decay * v + lif.weights @ s + (1 - lif.decay) * (current + lif.bias) - s
        s = (v > 1).astype(float)
        assert (simulation.step(torch.as_tensor(current, dtype=torch.float32)[None])[0].numpy() == s).all()
        np.testing.assert_allclose(simulation.potential[0].numpy(), v, atol=1e-4)
        fired += s.sum()
    assert 100 < fired < 1500


def test_surrogate_is_that_of_snntorch_with_unit_integral():
    u = torch.linspace(-3, 3, 61, requires_grad=True)
    snntorch.surrogate.fast_sigmoid(slope=2)(u).sum().backward()
    np.testing.assert_allclose(surrogate(u.detach().numpy()), u.grad.numpy(), rtol=1e-5)
    grid = np.linspace(-2000, 2000, 4_000_001)
    assert trapezoid(surrogate(grid), grid) == pytest.approx(1, abs=1e-3)


def test_tangent_dynamics_is_the_derivative_that_training_would_use():
    lif = make_network(Network(**NETWORK), 1, heterogeneous=True)
    activity = noise_driven(lif, 1.0, 3, seed=0, settle=20)
    spike = snntorch.surrogate.fast_sigmoid(slope=2)
    weights, decay = (torch.as_tensor(array, dtype=torch.float32) for array in (lif.weights, lif.decay))

    def step(v):
        s = spike(v - 1)
        return decay * v + weights @ s - s

    for jacobian, v in zip(jacobians(lif, activity), activity.potentials, strict=True):
        expected = torch.autograd.functional.jacobian(step, torch.as_tensor(v, dtype=torch.float32))
        np.testing.assert_allclose(jacobian, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_time_constants_are_gamma_distributed_around_the_same_mean():
    rank = np.random.default_rng(0).random(20_000)
    tau = time_constants(rank, 5.0, 2.0)
    assert tau.mean() == pytest.approx(5, rel=0.03)
    assert tau.var() == pytest.approx(25 / 2, rel=0.06)
    assert stats.kstest(tau, stats.gamma(2.0, scale=2.5).cdf).pvalue > 0.01
    assert (time_constants(rank, 5.0, None) == 5).all()


def test_heterogeneous_and_homogeneous_networks_differ_in_time_constants_alone():
    mixed, plain = (make_network(Network(**NETWORK), 3, heterogeneous) for heterogeneous in (True, False))
    np.testing.assert_array_equal(mixed.weights, plain.weights)
    np.testing.assert_array_equal(mixed.bias, plain.bias)
    assert mixed.tau.std() > 1 and plain.tau.std() == 0


def test_neurons_are_excitatory_or_inhibitory():
    lif = make_network(Network(**NETWORK | {"neurons": 400}), 0, heterogeneous=True)
    assert lif.synapses == 400 * 16
    sign = np.sign(lif.weights)
    assert ((sign >= 0).all(axis=0) | (sign <= 0).all(axis=0)).all()
    assert (sign < 0).any(axis=0).mean() == pytest.approx(0.2, abs=0.06)
    assert (np.diag(lif.weights) == 0).all()


def test_operations_are_spikes_times_fan_out():
    weights = np.zeros((3, 3))
    weights[1, 0] = weights[2, 0] = weights[0, 2] = 1e-9
    lif = network(weights, bias=1.5)
    activity = noise_driven(lif, 0.0, 400, seed=0)
    assert activity.rates.min() > 0.05
    assert activity.operations == pytest.approx(2 * activity.rates[0] + activity.rates[2])


def test_a_neuron_keeps_its_noise_when_others_go():
    lif = dataclasses.replace(network(np.zeros((4, 4))), tau=np.array([2.0, 3.0, 4.0, 5.0]))
    kept = np.array([False, True, False, True])
    all_of_them, some = (noise_driven(each, 0.5, 30, seed=2).potentials for each in (lif, lif.only(kept)))
    np.testing.assert_array_equal(all_of_them[:, kept], some)


# Steps of pruning


def test_neighbour_means_are_harmonic_means_over_both_neighbourhoods():
    weights = np.zeros((4, 4))
    weights[1, 0] = weights[1, 2] = weights[3, 2] = 1  # 0 -> 1 <- 2 -> 3
    factors = np.array([0.5, 0.8, 1.25, 2.0])
    found = pruning.neighbour_means(weights, np.log(factors))
    near = [{0, 1}, {0, 1, 2}, {1, 2, 3}, {2, 3}]
    for i in range(4):
        for j in range(4):
            union = factors[sorted(near[i] | near[j])]
            assert found[i, j] == pytest.approx(stats.hmean(union))


def test_linear_network_is_stable_and_keeps_its_couplings():
    lif = make_network(Network(**NETWORK | {"strength": 5.0}), 0, heterogeneous=True)
    gains = np.full(lif.neurons, 0.5)
    matrix = pruning.linearised(lif, gains, np.zeros(lif.neurons))
    assert np.linalg.eigvals(matrix).real.max() < 0
    off = ~np.eye(lif.neurons, dtype=bool)
    np.testing.assert_allclose(matrix[off], (lif.weights * 0.5)[off])
    weak = pruning.linearised(lif.with_weights(0.01 * lif.weights), gains, np.zeros(lif.neurons))
    np.testing.assert_allclose(np.diag(weak), -(1 - lif.decay + 0.5))


def test_neurons_at_the_ends_of_a_path_are_the_least_central():
    weights = np.zeros((6, 6))
    for i in range(5):
        weights[i + 1, i] = 1.0
    np.testing.assert_allclose(
        pruning.betweenness(network(weights), pivots=6, seed=0) * 20, [0, 4, 6, 6, 4, 0]
    )  # ordered pairs of the other five: 20
    assert list(pruning.without_least_central(network(weights), 1 / 3, 6, 0).origin) == [1, 2, 3, 4]


def test_localisation_runs_from_one_to_the_number_of_neurons():
    size = 16
    wave = np.roll(np.eye(size), 1, axis=0)  # eigenvectors of a circulant matrix are plane waves
    assert pruning.localisation(wave) == pytest.approx(1)
    assert pruning.localisation(np.diag(np.arange(size))) == pytest.approx(size)
    random = np.random.default_rng(0).normal(0, 1, (200, 200))
    assert pruning.localisation(random) == pytest.approx(2, abs=0.3)


def test_spectra_of_different_size_compare_by_quantiles():
    one, other = (Spectrum(np.sort(np.linspace(-1, 0, n))[::-1], np.zeros(n)) for n in (30, 90))
    assert pruning.distance(one, other) == pytest.approx(0, abs=1e-12)
    assert pruning.distance(one, Spectrum(other.exponents + 0.2, other.local)) == pytest.approx(0.2)


def test_search_finds_the_time_constants_of_a_spectrum():
    lif = network(np.zeros((20, 20)), tau=3.0)
    settings = TOY.pruning.model_copy(update={"trials": 12})
    target = pruning.observe(lif.with_tau(6.0, None), settings, 0)[1]
    found, mean, shape = pruning.match_time_constants(lif, target, 4.0, None, settings, 0)
    assert shape is None and (found.tau == mean).all()
    before, after = (
        pruning.distance(pruning.observe(lif.with_tau(tau, None), settings, 0)[1], target) for tau in (4.0, mean)
    )
    assert after < 0.5 * before


def test_peers_have_the_size_they_are_given():
    lif = make_network(Network(**NETWORK), 0, heterogeneous=True)
    rates = np.random.default_rng(0).random(lif.neurons)
    active = most_active(lif, rates, 25, 80)
    assert (active.neurons, active.synapses) == (25, 80)
    assert set(active.origin) == set(np.argsort(rates)[-25:])
    delivered = np.abs(lif.weights[np.ix_(active.origin, active.origin)]) * rates[active.origin]
    kept = active.weights != 0
    assert delivered[kept].min() >= delivered[~kept].max()
    random = any_of(lif, 25, 80, np.random.default_rng(0))
    assert (random.neurons, random.synapses) == (25, 80)
    small = lif.weights[np.ix_(random.origin, random.origin)]
    kept = random.weights != 0
    np.testing.assert_allclose(random.weights[kept] / small[kept], np.count_nonzero(small) / 80)


# Tasks


def test_readout_finds_a_linear_map_and_ignores_dead_features():
    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, (400, 6))
    features[:, 4] = 7.0
    true = rng.normal(0, 1, (6, 2))
    readout = Readout.fit(features, features @ true + 1)
    fresh = rng.normal(3, 2, (50, 6))
    fresh[:, 4] = 7.0
    np.testing.assert_allclose(readout(fresh), fresh @ true + 1, atol=1e-3)
    assert (readout.weights[4] == 0).all()


def test_readout_on_noise_chooses_a_strong_penalty():
    rng = np.random.default_rng(1)
    readout = Readout.fit(rng.normal(0, 1, (60, 40)), rng.normal(0, 1, (60, 1)))
    assert np.abs(readout.weights).max() < 0.05


def test_rows_of_an_image_are_means_of_squares_from_top_to_bottom():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    found = cifar10.rows(images)
    assert found.shape == (2, 16, 48)
    expected = images[1, 2, 10:12, 6:8].mean() / 255
    assert found[1, 5, 2 * 16 + 3] == pytest.approx(expected)


def test_the_present_state_is_a_prediction_whose_error_is_known():
    s = TOY.lorenz63.model_copy(update={"train": 1500})
    task = lorenz63.Prediction(s, 40, 2.0, seed=0)
    found = task.score(make_network(TOY.network, 0, heterogeneous=True))
    now, then = (task.test[start : start + s.test] for start in (s.washout, s.washout + s.horizon))
    assert found["persistence_rmse"] == pytest.approx(np.sqrt(np.mean((now - then) ** 2)))
    assert 0 < found["rmse"] < found["persistence_rmse"]
    assert 0 <= found["valid_time"] <= s.forecast_steps * s.interval * attractor.LARGEST_EXPONENT


def test_pruning_depends_on_the_seed_alone_and_reaches_its_counts():
    (one, history), (other, _) = (pruned_network(TOY, 1, heterogeneous=True) for _ in range(2))
    assert digest(one) == digest(other)
    assert digest(one) != digest(pruned_network(TOY, 2, heterogeneous=True)[0])
    counts = [(each["neurons"], each["synapses"]) for each in history]
    assert counts[0] == (40, 640)
    assert [neurons for neurons, _ in counts] == [40, 34, 29]
    assert all(after <= round(0.6 * before) for (_, before), (_, after) in pairwise(counts))
    assert (one.neurons, one.synapses) == counts[-1]
    dense = make_network(TOY.network, 1000, heterogeneous=True)
    kept = np.sign(one.weights)
    assert (kept == np.sign(dense.weights[np.ix_(one.origin, one.origin)]) * (kept != 0)).all()


def test_both_tasks_get_the_same_networks_and_every_claim_a_verdict(tmp_path):
    mirror = image_mirror(tmp_path)
    runs = {"lorenz63": [], "cifar10": []}
    for seed in (1, 2):
        for name, module in (("lorenz63", lorenz63), ("cifar10", cifar10)):
            log = Log()
            work = Work(seed, torch.device("cpu"), tmp_path, str(mirror), log)
            runs[name].append(module.run(TOY, work))
            assert module.run(TOY, work) == runs[name][-1]  # from the log
            assert set(runs[name][-1]["variants"]) == set(VARIANTS)
    assert [run["network"] for run in runs["lorenz63"]] == [run["network"] for run in runs["cifar10"]]
    found = claims.findings(runs, TOY)
    assert len(found) == 5
    alone = claims.findings({name: each[:1] for name, each in runs.items()}, TOY)
    assert {finding.verdict for finding in alone} == {Verdict.NOT_TESTABLE}
    assert "inf" not in "".join(str(finding) for finding in alone)
    tables = claims.tables(runs)
    assert [len(table.rows) for table in tables] == [6, 6, 6]
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    figures = claims.figures(runs, tmp_path)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(figure.read_bytes().startswith(starts[figure.suffix]) for figure in figures)
