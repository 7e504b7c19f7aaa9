"""The picture of a comparison: a few probes as rows, every column's answer beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auditor.stages.comparison.columns import MadeColumn
from auditor.stages.pictures import save_png
from auditor.stages.prompt_list import Prompts
from auditor.store.comparison import SheetRow


def write_sheet(run: Path, columns: Sequence[MadeColumn], rows: int, asked: Prompts | None) -> list[SheetRow]:
    """The first so many probes, each column's image as a PNG file below ``pictures/sheet``.

    The first ones rather than chosen ones: probes are exchangeable, and nothing was looked at to pick them.
    """
    row_of = [{int(probe): row for row, probe in enumerate(column.generations.probe)} for column in columns]
    probes = sorted(set().union(*row_of))[:rows] if columns else []
    sheet = []
    for probe in probes:
        images: list[str | None] = []
        for place, (column, known) in enumerate(zip(columns, row_of, strict=True)):
            path = f"pictures/sheet/{place:02d}-{probe:06d}.png"
            if probe in known:
                save_png(run / path, np.asarray(column.generations.pixels(known[probe])))
            images.append(path if probe in known else None)
        prompt = None if asked is None else asked.texts[asked.of_probe(probe)]
        sheet.append(SheetRow(probe=probe, images=images, prompt=prompt))
    return sheet
