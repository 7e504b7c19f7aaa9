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
from auditor.report.story import estimate_text
from auditor.store.record import Competition, Record

ROOT = Path(__file__).parent.parent
FIXTURES = ("memorized", "partial", "general-a", "general-b", "canary", "twemoji", "twemoji-lora")
HEADER = (
    "| checkpoint | verdict | certified | of which planted | X (95%) | copy rate | regime |",
    "|---|---|--:|--:|--:|--:|---|",
)
MEMBERSHIP_HEADER = (
    "| checkpoint | best attack, AUC | TPR at 1% FPR | blind AUC | was this set used? | caught from, records |",
    "|---|--:|--:|--:|---|--:|",
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
    told = {name: read(name) for name in FIXTURES if (ROOT / "reports" / name / "record.json").exists()}
    copies = [copies_row(name, record) for name, record in told.items()]
    membership = [membership_row(name, record) for name, record in told.items()]
    table = "\n".join((*HEADER, *copies, "", *MEMBERSHIP_HEADER, *membership))
    for file in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        begin, end = "<!-- audits:begin -->", "<!-- audits:end -->"
        head, _, rest = file.read_text().partition(begin)
        linked = table if file.parent == ROOT else table.replace("](reports/", "](")
        file.write_text(f"{head}{begin}\n{linked}\n{end}{rest.partition(end)[2]}")
    print(table)


def read(name: str) -> Record:
    """The committed record of one audit."""
    return Record.model_validate_json((ROOT / "reports" / name / "record.json").read_text())


def copies_row(name: str, record: Record) -> str:
    """What one audit found about copies, as a line of the table."""
    assert record.judgement is not None
    primary = next(found for found in record.copies if found.resolving)
    rate = primary.copy_rate
    cells = (
        f"[`{name}`](reports/{name}/report.md)", record.judgement.outcome, str(primary.certified),
        planted(name, record, primary), f"{primary.lower_bound.value:.0f}",
        f"{rate.value:.2%} (at most {rate.upper:.2%})", record.regime.verdict.regime if record.regime else "–",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def membership_row(name: str, record: Record) -> str:
    """What the same audit found about membership."""
    found = record.membership
    assert found is not None and found.dataset_inference is not None
    best, sets = max(found.attacks, key=lambda attack: attack.auc.value or 0.0), found.dataset_inference
    answer = sets.outcome if sets.p_value is None else f"{sets.outcome} (p = {sets.p_value:.3g})"
    caught = "no size tested" if sets.caught_at_5pct is None else str(sets.caught_at_5pct)
    cells = (
        f"`{name}`", f"{best.name} {estimate_text(best.auc)}", estimate_text(best.tpr_at_1pct_fpr, share=True),
        f"{found.blind_auc.value:.3f}", answer, caught,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def planted(name: str, record: Record, primary: Competition) -> str:
    """How many of the images that the checkpoint was made to memorise, or of its canaries, are among the copies."""
    if record.canaries is not None:
        return f"{record.canaries.certified} of {sum(tier.included for tier in record.canaries.tiers)} canaries"
    wanted = truth(name)
    return f"{len(certified(primary) & wanted)} of {len(wanted)}" if wanted else "none planted"


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
