"""What captions say about classes."""

from __future__ import annotations


def stated_class(caption: str | None, classes: int) -> int | None:
    """The class that a caption names by its number, if it is one of the checkpoint's 0..classes-1."""
    text = (caption or "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) < classes else None
