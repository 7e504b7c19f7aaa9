"""``python -m auditor``: the command line, for machines whose PATH does not have it."""

from auditor.cli.main import entry

if __name__ == "__main__":
    entry()
