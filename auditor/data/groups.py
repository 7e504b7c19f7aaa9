"""Which images of a set belong together: what was dealt to training or held-out set as one."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from auditor.errors import ConfigError

HEADER = ["id", "group"]
REMEDY = "Write it as `auditor split` does."


def read_groups(file: Path, *sets: Collection[str]) -> dict[str, str]:
    """Group of each image of the sets that the file lists, by id.

    Args:
      file: CSV in UTF-8 with the header ``id,group``; images that it does not list belong to no other.
      sets: Ids of the training and the held-out set; the file may list images of one of them alone.

    Raises:
      ConfigError: No such file, another header, a line without a group, an id in two groups, or no id of either set.
    """
    if not file.is_file():
        raise ConfigError("data.groups", file, "a CSV file with the columns id and group", "Correct the path.")
    found, listed = dict[str, str](), 0
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            if header != HEADER:
                raise ConfigError(str(file), f"the header {','.join(header)[:80]!r}", "id,group", REMEDY)
            for row in rows:
                listed += 1
                if len(row) != len(HEADER) or not all(row):
                    got = f"{','.join(row)[:80]!r} in line {rows.line_num}"
                    raise ConfigError(str(file), got, "an id and a group", REMEDY)
                identity, group = row
                if found.get(identity, group) != group:
                    raise ConfigError(str(file), f"{identity!r} in two groups", "every id once", REMEDY)
                if any(identity in ids for ids in sets):
                    found[identity] = group
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(file), error, "a CSV file in UTF-8", REMEDY) from error
    if listed and not found:
        got = f"{listed:,} ids, none of them of either set"
        raise ConfigError(
            str(file), got, "ids of the training and held-out sets", "Correct the file, or data.id_column."
        )
    return found


def write_groups(file: Path, groups: dict[str, str]) -> None:
    """The same file from groups by id, of those with two members or more, in the order given."""
    size: dict[str, int] = {}
    for group in groups.values():
        size[group] = size.get(group, 0) + 1
    with file.open("w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows(row for row in groups.items() if size[row[1]] > 1)
