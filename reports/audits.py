"""The reference audits: ``make audits`` audits every fixture, compares with the truth, and writes the figures.

For each fixture reports/<name>/ gets report.html, report.md and record.json; the table goes into reports/README.md and
between the marks in the README. A finished audit in runs/ is not done again. Names as arguments choose some of them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import auditor
from auditor.cli.display import Terminal
from auditor.report import write_markdown
from auditor.store.record import Competition, Record

ROOT = Path(__file__).parent.parent
FIXTURES = ("memorized", "partial", "general-a", "general-b")
HEADER = (
    "| checkpoint | verdict | certified | of which planted | X (95%) | copy rate | best attack, AUC | blind AUC |",
    "|---|---|--:|--:|--:|--:|--:|--:|",
)


def main(names: list[str]) -> None:
    os.chdir(ROOT)  # so that the reports name paths as the repository does
    terminal = Terminal()
    for name in names or FIXTURES:
        run_dir = Path("runs") / f"reference-{name}"
        record = auditor.run(auditor.read_config(Path("fixtures") / name / "audit.toml"), run_dir, progress=terminal)
        assert record.judgement is not None
        terminal.console.print(f"{name}: {record.judgement.outcome}: {record.judgement.reason}")
        kept = ROOT / "reports" / name
        kept.mkdir(exist_ok=True)
        for file in ("report.html", "record.json"):
            shutil.copy(run_dir / file, kept / file)
        write_markdown(record, kept / "report.md", images="none")  # its pictures would lie in the run directory
    rows = [row(name) for name in FIXTURES if (ROOT / "reports" / name / "record.json").exists()]
    table = "\n".join((*HEADER, *rows))
    for file in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        begin, end = "<!-- audits:begin -->", "<!-- audits:end -->"
        head, _, rest = file.read_text().partition(begin)
        linked = table if file.parent == ROOT else table.replace("](reports/", "](")
        file.write_text(f"{head}{begin}\n{linked}\n{end}{rest.partition(end)[2]}")
    print(table)


def row(name: str) -> str:
    """One audit as a line of the table."""
    record = Record.model_validate_json((ROOT / "reports" / name / "record.json").read_text())
    assert record.judgement is not None
    primary = next(found for found in record.copies if found.resolving)
    found = certified(primary)
    planted = truth(name)
    hit = f"{len(found & planted)} of {len(planted)}" if planted else "none planted"
    rate = primary.copy_rate
    attacks = record.membership.attacks if record.membership else []
    best = max(attacks, key=lambda attack: attack.auc.value or 0.0, default=None)
    blind = record.membership.blind_auc if record.membership else None
    auc = f"{best.name} {best.auc.value:.3f} [{best.auc.lower:.3f}, {best.auc.upper:.3f}]" if best else "not tested"
    cells = (
        f"[`{name}`](reports/{name}/report.md)", record.judgement.outcome, str(primary.certified), hit,
        f"{primary.lower_bound.value:.0f}", f"{rate.value:.2%} (at most {rate.upper:.2%})", auc,
        f"{blind.value:.3f}" if blind else "",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def certified(competition: Competition) -> set[str]:
    """Every id of the certified and verbatim items."""
    items = (item for item in competition.evidence if item.tier != "suspect")
    return {member for item in items for member in item.members}


def truth(name: str) -> set[str]:
    """Ids of the images that the checkpoint was made to memorise."""
    file = ROOT / "fixtures" / name / "truth.json"
    if not file.exists():
        return set()
    content = json.loads(file.read_text())
    return set(content.get("memorized") or content["repeated"])


if __name__ == "__main__":
    main(sys.argv[1:])
