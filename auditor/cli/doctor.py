"""`auditor doctor`: is this installation able to audit?"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform

import click

from auditor.errors import EXIT_ERROR

NEEDED = ("torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "safetensors", "scipy", "pillow")
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")


@click.command()
def doctor() -> int:
    """Print versions and devices, and what is missing; exit code 2 if an audit cannot run."""
    missing = []
    click.echo(f"python            {platform.python_version()} on {platform.platform()}")
    for name in NEEDED:
        version = _version(name)
        click.echo(f"{name:<17} {version or 'missing'}")
        if version is None:
            missing.append(f"pip install {name}")
    found = [f"{name} {_version(name)}" for name in FAISS if _version(name)]
    click.echo(f"{'faiss':<17} {', '.join(found) or 'missing'}")
    if not found:
        missing.append("pip install 'diffusion-auditor[cpu]' (or [gpu])")
    elif len(found) > 1:
        missing.append(f"pip uninstall all but one of {', '.join(found)}: they ship the same module")
    click.echo(f"{'onnxruntime':<17} {_version('onnxruntime') or 'absent (only needed for sscd as ONNX)'}")
    if not missing:
        torch = importlib.import_module("torch")
        cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, CPU is used"
        click.echo(f"{'gpu':<17} {cuda}")
        click.echo(f"{'cpu threads':<17} {torch.get_num_threads()}")
    for remedy in missing:
        click.echo(f"to do: {remedy}", err=True)
    return EXIT_ERROR if missing else 0


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
