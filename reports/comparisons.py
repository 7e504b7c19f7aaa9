"""The reference comparisons: ``make comparisons`` puts the fixtures, the regime curve, and adapters on the same probes.

reports/compare/, reports/curve/ and reports/flags/ get comparison.html, comparison.md and comparison.json; the tables
go into reports/README.md and between the marks in the README. A finished comparison in runs/ is not made again. Names
as arguments choose some of them.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import auditor
from auditor.cli.display import Terminal, show_comparison
from auditor.report.comparison import markdown
from auditor.store.comparison import Comparison, Reproducibility
from auditor.store.parts import Estimate
from auditor.store.regime import MemorizerAgreement
from auditor.store.wording import decimal, percent

ROOT = Path(__file__).parent.parent
COMPARISONS = {
    "compare": "fixtures/compare.toml", "curve": "fixtures/curve/compare.toml", "flags": "fixtures/flags.toml",
}  # fmt: skip
BEGIN, END = "<!-- regimes:begin -->", "<!-- regimes:end -->"


def main(names: list[str]) -> None:
    os.chdir(ROOT)  # so that the reports name paths as the repository does
    terminal = Terminal()
    for name in names or COMPARISONS:
        run_dir = Path("runs") / f"reference-{name}"
        found = auditor.compare(auditor.read_comparison(COMPARISONS[name]), run_dir, progress=terminal)
        show_comparison(terminal.console, found, str(run_dir / "comparison.html"))
        kept = ROOT / "reports" / name
        kept.mkdir(exist_ok=True)
        for file in ("comparison.html", "comparison.json"):
            shutil.copy(run_dir / file, kept / file)
        (kept / "comparison.md").write_text(markdown(found, images="none"))  # its pictures lie in the run directory
    tables = [table(ROOT / "reports" / name / "comparison.json") for name in COMPARISONS]
    text = "\n\n".join(part for part in tables if part)
    for file in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        head, _, rest = file.read_text().partition(BEGIN)
        file.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    print(text)


def table(file: Path) -> str:
    """The figures of one comparison: by checkpoint, or along the curve by size."""
    if not file.exists():
        return ""
    found = Comparison.model_validate_json(file.read_text())
    if found.prompts is not None:
        return by_fine_tune(found)
    return by_size(found) if found.curve == "size" else by_checkpoint(found)


def by_checkpoint(found: Comparison) -> str:
    """One line per checkpoint."""
    lines = [
        "| checkpoint | regime | lands where the memorizer does | by chance | held-out control | GL | X (95%) |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    regimes = {verdict.column: verdict.regime for verdict in found.regimes if verdict.encoder == found.decisive}
    for agreement in agreements(found):
        cells = (
            f"`{agreement.column}`", regimes[agreement.column], shown(agreement.share), percent(agreement.chance),
            shown(agreement.control), shown(agreement.gl), decimal(agreement.lower_bound.value or 0),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_size(found: Comparison) -> str:
    """One line per training-set size: reproducibility on the same and on disjoint data, GL, agreement."""
    size = {model.name: model.size for model in found.models}
    lines = [
        "| images | RP, same data | RP, disjoint data | GL | lands where the memorizer does | regimes |",
        "|--:|--:|--:|--:|--:|---|",
    ]
    for count in sorted({value for value in size.values() if value is not None}):
        here = [a for a in agreements(found) if size[a.column] == count]
        regimes = [v.regime for v in found.regimes if v.encoder == found.decisive and size[v.column] == count]
        pairs = [
            p for p in found.pairs if p.encoder == found.decisive and size.get(p.left) == size.get(p.right) == count
        ]
        cells = (
            f"{count:,}", mean_rp(pairs, "same"), mean_rp(pairs, "disjoint"), mean_of([a.gl for a in here]),
            mean_of([a.share for a in here]), ", ".join(dict.fromkeys(regimes)),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_fine_tune(found: Comparison) -> str:
    """One line per fine-tune of a text-to-image checkpoint: how it answers its base's prompts and noises."""
    pairs = {(pair.left, pair.right): pair for pair in found.pairs if pair.encoder == found.decisive}
    reasons = {verdict.column: verdict.reasons for verdict in found.regimes if verdict.encoder == found.decisive}
    chance = percent(1 / found.prompts.seeds) if found.prompts else "–"
    lines = [
        "| fine-tune | moved onto its images | off them | RP with its base "
        f"| identified, by chance {chance} | what comes back |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for moved in found.moved:
        pair = pairs[moved.base, moved.tuned]
        said = next(reason for reason in reasons[moved.tuned] if "come" in reason)
        cells = (
            f"`{moved.tuned}`", shown(moved.onto), shown(moved.off), shown(pair.rp), shown(pair.identified), said,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def agreements(found: Comparison) -> list[MemorizerAgreement]:
    return [agreement for agreement in found.memorizer if agreement.encoder == found.decisive]


def mean_rp(pairs: list[Reproducibility], data: str) -> str:
    return mean_of([pair.rp for pair in pairs if pair.data == data])


def mean_of(estimates: list[Estimate]) -> str:
    """The mean of several checkpoints' or pairs' values; their intervals stand in the report."""
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    return percent(sum(values) / len(values)) if values else "–"


def shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not measured"
    return f"{percent(estimate.value)} [{percent(estimate.lower or 0)}, {percent(estimate.upper or 0)}]"


if __name__ == "__main__":
    main(sys.argv[1:])
