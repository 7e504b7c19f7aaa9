"""Parts of checkpoints on a device only while they are used, so that it need not hold all of them at once.

Weights are copied to the device when what they belong to is called, and dropped there when something else is: the
host keeps them all the while, since nothing writes to them. So a part comes in one copy and leaves in none. No result
depends on it: the same numbers meet in the same kernels.

Checked where the weights away are made unusable on a CPU; no GPU has been tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


def as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself."""
    return tensor


@dataclass(eq=False)
class Room:
    """Space on a device for one part at a time, whichever checkpoint it is of."""

    device: str
    fetch: Change | None = None  # a host's tensor as one on the device; None = a copy there
    rest: Change = as_it_is  # what stands in for a tensor that is not on the device: the host's own
    present: list[Tenant] = field(default_factory=list)
    arrivals: Counter[str] = field(default_factory=Counter)  # by the tenants' names

    def admit(self, *tenants: Tenant) -> None:
        """Let these, and no others, be on the device; whoever has to leave leaves first."""
        if all(tenant in self.present for tenant in tenants):
            return
        for tenant in self.present:
            tenant.leave()
        self.present = []
        for tenant in tenants:
            tenant.come()
            self.present.append(tenant)
            self.arrivals[tenant.name] += 1

    def clear(self) -> None:
        """Let nothing be on the device."""
        for tenant in self.present:
            tenant.leave()
        self.present = []


@dataclass(eq=False)
class Tenant:
    """Weights that come to a device and leave it together."""

    name: str
    room: Room
    tensors: list[torch.Tensor]
    blocks: list[Tenant] = field(default_factory=list)  # of the same network, one at a time in a room of their own

    def __post_init__(self) -> None:
        self.host = [tensor.data for tensor in self.tensors]
        self.leave()

    def come(self) -> None:
        fetch = self.room.fetch or (lambda tensor: tensor.to(self.room.device))
        # Weights made in inference mode could not serve a later gradient.
        with torch.inference_mode(False), torch.no_grad():
            for tensor, host in zip(self.tensors, self.host, strict=True):
                tensor.data = fetch(host)

    def leave(self) -> None:
        for tensor, host in zip(self.tensors, self.host, strict=True):
            tensor.data = self.room.rest(host)
        if self.blocks:
            self.blocks[0].room.clear()

    def bring(self, *, whole: bool) -> None:
        """Be on the device; with ``whole``, all blocks as well, until another part comes."""
        self.room.admit(self)
        if whole and self.blocks:
            self.blocks[0].room.admit(*self.blocks)


ROOMS: dict[str, Room] = {}  # a process's devices: checkpoints that are compared share them
TENANTS: WeakKeyDictionary[torch.nn.Module, Tenant] = WeakKeyDictionary()


def room_on(device: str) -> Room | None:
    """The room on a device; None on the host itself, where there is nothing to gain."""
    if device not in ROOMS and torch.device(device).type == "cpu":
        return None
    return ROOMS.setdefault(device, Room(device))


def lodge(
    name: str,
    networks: Sequence[torch.nn.Module],
    room: Room,
    *,
    in_blocks: bool = False,
    doors: Sequence[torch.nn.Module] | None = None,
) -> None:
    """Make networks, now on the host, one tenant that comes whenever one of them is called.

    Args:
      name: What arrivals are counted under.
      networks: They come and leave together.
      room: Where to.
      in_blocks: Every child of a list of blocks comes alone, when it is called, and leaves for the next.
      doors: What of them is called from outside; None = themselves.
    """
    blocks = [block for network in networks for block in blocks_of(network)] if in_blocks else []
    apart = {tensor for block in blocks for tensor in tensors_of(block)}
    own = [tensor for network in networks for tensor in tensors_of(network) if tensor not in apart]
    inner = Room(room.device, room.fetch, room.rest)
    tenants = [Tenant("block", inner, tensors_of(block)) for block in blocks]
    tenant = Tenant(name, room, own, tenants)
    TENANTS.update(dict.fromkeys(networks, tenant))
    for door in networks if doors is None else doors:
        door.register_forward_pre_hook(_arriving(tenant), with_kwargs=True)
    for block, one in zip(blocks, tenants, strict=True):
        for called in block.modules():  # DiT asks its first block's embedding again, past the block
            called.register_forward_pre_hook(_admitting(one))


def blocks_of(network: torch.nn.Module) -> list[torch.nn.Module]:
    """What a network keeps in lists: the blocks of a transformer, the levels of a UNet."""
    lists = [child for child in network.children() if isinstance(child, torch.nn.ModuleList)]
    return [block for child in lists for block in child]


def tensors_of(network: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, each once."""
    return list(dict.fromkeys([*network.parameters(), *network.buffers()]))


def bring(network: Any) -> None:
    """Let all of a network be on its device until another part comes; of one that is no tenant, it is already."""
    if isinstance(network, torch.nn.Module) and network in TENANTS:
        TENANTS[network].bring(whole=True)


def lodge_like(network: torch.nn.Module, other: torch.nn.Module) -> None:
    """Bring a network on the host to where another one is, or make it a tenant as the other is."""
    tenant = TENANTS.get(other)
    if tenant is None:
        network.to(next(other.parameters()).device)
    else:
        lodge(tenant.name, [network], tenant.room, in_blocks=bool(tenant.blocks))


def give_back(network: torch.nn.Module) -> None:
    """Let what a network gives lie on the host: embeddings are kept longer than the encoder is on the device."""

    def give(_: torch.nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        for name, value in list(output.items()):
            output[name] = moved(value, "cpu")
        return output

    network.register_forward_hook(give)


def moved(value: Any, device: str) -> Any:
    """The tensors in a value, its tuples and mappings, on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(moved(one, device) for one in value)
    if isinstance(value, dict):
        return {name: moved(one, device) for name, one in value.items()}
    return value


def _arriving(tenant: Tenant) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook before a call: its tenant comes, and so do the arguments."""

    def hook(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        # A backward pass needs the weights again, wherever they are by then.
        whole = torch.is_grad_enabled() and any(wants_gradient(one) for one in (*arguments, *named.values()))
        tenant.bring(whole=whole)
        return moved(arguments, tenant.room.device), moved(named, tenant.room.device)

    return hook


def _admitting(block: Tenant) -> Callable[..., None]:
    def hook(_: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        block.room.admit(block)

    return hook


def wants_gradient(value: Any) -> bool:
    """Whether a value is a tensor that gradients are taken by."""
    return isinstance(value, torch.Tensor) and value.requires_grad
