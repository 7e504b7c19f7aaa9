"""Parts of a checkpoint come to the device when they are used, and not more often; no result depends on it.

There is one device here. So what is away is made unusable (NaN) and what comes is a copy: whatever computed with
weights that should have been on the device would give NaN. That a GPU takes and drops the copies has not been tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.checkpoint import offload
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.attention import attending, text_encoders
from auditor.checkpoint.fresh import reinitialise
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.offload import ROOMS, Room
from auditor.checkpoint.scan import scan
from auditor.config import GenerationConfig
from auditor.diffusion.slopes import eps_slope
from auditor.stages.generate import sample_part
from tests.checkpoint.conftest import save_dit, save_ldm, save_unet
from tests.text_pipelines import (
    PROMPTS,
    save_flux,
    save_pixart,
    save_sana,
    save_sd,
    save_sd3,
    save_sdxl,
)

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd": save_sd, "sdxl": save_sdxl, "sd3": save_sd3, "flux": save_flux, "pixart": save_pixart, "sana": save_sana,
    "dit": save_dit, "ldm": save_ldm, "unet": save_unet,
}  # fmt: skip
TIMES = torch.tensor([300, 500, 700])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("offload")
    return {name: save(root / name) for name, save in FAMILIES.items()}


def unusable(host: torch.Tensor) -> torch.Tensor:
    return torch.full_like(host, float("nan")) if host.is_floating_point() else torch.zeros_like(host)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A device on which weights that are away cannot be used."""
    made = Room("cpu", torch.clone, unusable)
    monkeypatch.setitem(ROOMS, "cpu", made)
    yield made
    made.clear()


def opened(name: str, folder: Path, how: str) -> LoadedCheckpoint:
    size = (16, 16) if name == "flux" else None
    checkpoint = load(scan(folder, asked=Asked(image_size=size, offload=how)))
    return checkpoint if checkpoint.text is None else checkpoint.with_prompts(PROMPTS)


def answers(checkpoint: LoadedCheckpoint) -> dict[str, torch.Tensor]:
    """Of everything that an audit asks a checkpoint for."""
    denoiser: Any = checkpoint.denoiser
    x = torch.randn(3, *denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    places = torch.arange(3) if checkpoint.num_classes else None
    with torch.inference_mode():
        pixels = checkpoint.codec.to_pixels(x)
        found = {"pixels": torch.from_numpy(pixels), "latents": checkpoint.codec.to_model(pixels)}
        found["output"] = denoiser(x, TIMES, places)
        found["again"] = denoiser(x, TIMES, places)
    found["slope"] = eps_slope(denoiser, x, TIMES, places, x)
    parameters = {key: value.detach().requires_grad_() for key, value in denoiser.parameters().items()}
    checkpoint.codec.to_pixels(x)  # the parameters serve all the same
    loss = denoiser.with_parameters(parameters)(x, TIMES, places).square().sum()
    values = list(parameters.values())
    gradients = torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True)
    found["by parameters"] = torch.cat([one.flatten() for one in gradients])
    given = x.clone().requires_grad_()
    (found["by x"],) = torch.autograd.grad(denoiser(given, TIMES, places).square().sum(), given)
    return found


@pytest.mark.parametrize("how", ["parts", "blocks"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_answer_is_the_same_to_the_last_bit(name: str, how: str, folders: dict[str, Path], room: Room) -> None:
    wanted = answers(opened(name, folders[name], "none"))
    assert not room.arrivals
    made = answers(opened(name, folders[name], how))
    assert {key: torch.equal(value, wanted[key]) for key, value in made.items()} == dict.fromkeys(wanted, True)
    assert wanted["output"].std() > 0 and torch.equal(made["output"], made["again"])
    text, latent = name not in ("dit", "ldm", "unet"), name != "unet"
    # the network leaves for the autoencoder once, and comes back
    arrivals = {"network": 1 + latent, "autoencoder": 2 * latent, "text encoders": int(text)}
    assert room.arrivals == {part: count for part, count in arrivals.items() if count}


def test_weights_that_are_away_are_unusable_here(folders: dict[str, Path], room: Room) -> None:
    """The control of the test above: past the doors, or with nothing there, the same calls give NaN."""
    checkpoint = opened("sd", folders["sd"], "blocks")
    network: Any = checkpoint.denoiser.network
    x = torch.zeros(1, *checkpoint.denoiser.sample_shape)
    assert network.conv_in(x).isnan().all()
    checkpoint.denoiser(x, TIMES[:1], TIMES[:1] * 0)
    assert not network.conv_in(x).isnan().any()
    state = network.down_blocks[0].state_dict()
    assert all(value.isnan().all() for value in state.values())  # it left for the block after it
    room.clear()
    assert network.conv_in(x).isnan().all()


def away(network: torch.nn.Module) -> bool:
    return all(bool(parameter.isnan().all()) for parameter in network.parameters())


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_only_one_part_is_there_at_a_time(name: str, folders: dict[str, Path], room: Room) -> None:
    checkpoint = opened(name, folders[name], "parts")
    denoiser, codec = checkpoint.denoiser, checkpoint.codec
    network, autoencoder = denoiser.network, codec.network
    encoders = [one.network for one in text_encoders(denoiser)]
    seen = []

    def watch(which: str) -> Callable[..., None]:
        everything = {"network": [network], "text": encoders, "autoencoder": [autoencoder]}
        others = [one for key, parts in everything.items() if key != which for one in parts]
        return lambda *_: seen.append((which, all(map(away, others)), any(map(away, everything[which]))))

    network.register_forward_hook(watch("network"))
    autoencoder.decoder.register_forward_hook(watch("autoencoder"))
    for encoder in encoders:
        encoder.register_forward_hook(watch("text"))
    x = torch.zeros(1, *denoiser.sample_shape)
    for _ in range(2):
        codec.to_pixels(denoiser(x, TIMES[:1], TIMES[:1] * 0))
    assert {one[0] for one in seen} == {"network", "text", "autoencoder"}
    assert {one[1:] for one in seen} == {(True, False)}


@pytest.mark.parametrize("name", ["sd", "flux", "dit"])
def test_only_one_block_is_there_at_a_time(name: str, folders: dict[str, Path], room: Room) -> None:
    denoiser: Any = opened(name, folders[name], "blocks").denoiser
    blocks, seen = offload.blocks_of(denoiser.network), []
    for block in blocks:
        block.register_forward_hook(lambda own, *_: seen.append([away(one) != (one is own) for one in blocks]))
    with torch.inference_mode():
        denoiser(torch.zeros(1, *denoiser.sample_shape), TIMES[:1], TIMES[:1] * 0)
    assert len(seen) == len(blocks) >= 2 and all(map(all, seen))


@pytest.mark.parametrize("steps", [2, 12])
def test_parts_come_once_a_piece_of_work_and_not_once_a_step(steps: int, folders: dict[str, Path], room: Room) -> None:
    checkpoint, whole = (opened("sdxl", folders["sdxl"], how) for how in ("parts", "none"))
    config = GenerationConfig(probes=12, steps=steps, batch_size=4, guidance_scale=3.0)
    for first in (0, 4, 8):
        probes = range(first, first + 4)
        made, wanted = (sample_part(one, one.guided(3.0), config, "seed", probes, "cpu") for one in (checkpoint, whole))
        assert made["pixels"].tobytes() == wanted["pixels"].tobytes() and made["pixels"].std() > 5
    assert room.arrivals == {"text encoders": 1, "network": 3, "autoencoder": 3}  # three pieces, whatever the steps


def test_compared_checkpoints_and_untrained_networks_share_the_room(folders: dict[str, Path], room: Room) -> None:
    first, second = (opened(name, folders[name], "blocks") for name in ("sd", "sdxl"))
    fresh, wanted = reinitialise(first, "seed"), reinitialise(opened("sd", folders["sd"], "none"), "seed")
    x = torch.randn(1, *first.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    for checkpoint in (first, second, fresh):
        checkpoint.denoiser(x, TIMES[:1], TIMES[:1] * 0)
        networks: list[Any] = [one.denoiser.network for one in (first, second, fresh)]
        assert [away(one.conv_in) for one in networks] == [one is not checkpoint for one in (first, second, fresh)]
    made = fresh.denoiser(x, TIMES[:1], TIMES[:1] * 0)
    assert torch.equal(made, wanted.denoiser(x, TIMES[:1], TIMES[:1] * 0))


def test_attention_is_read_of_a_network_in_blocks(folders: dict[str, Path], room: Room) -> None:
    found = []
    for how in ("none", "blocks"):
        unet = attending(opened("sd", folders["sd"], how).denoiser)
        assert unet is not None
        x = torch.randn(3, *unet.sample_shape, generator=torch.Generator().manual_seed(1))
        found.append((unet.with_attention(x, TIMES, torch.arange(3)), unet.tokens(torch.arange(3), 3)))
    (one, tokens), (other, same) = found
    assert torch.equal(one[0], other[0]) and list(one[1]) == list(other[1]) and torch.equal(tokens.ids, same.ids)
    assert all(torch.equal(value, other[1][key]) for key, value in one[1].items())


def test_on_the_host_itself_nothing_moves(folders: dict[str, Path]) -> None:
    assert offload.room_on("cpu") is None and "cpu" not in ROOMS
    network: Any = opened("sd", folders["sd"], "blocks").denoiser.network
    assert network not in offload.TENANTS
    assert offload.Room("cuda").rest(network.conv_in.weight) is network.conv_in.weight  # by default the host's own


def test_offloading_is_no_other_audit(folders: dict[str, Path]) -> None:
    digests = {scan(folders["sd"], asked=Asked(offload=how)).digest for how in ("none", "parts", "blocks")}
    assert len(digests) == 1
    assert Asked(offload="parts").beside(Path()).offload == "parts"  # what is compared with it shares the device
