"""Hold what the image is made of (`run.txt`, `build.txt`, `sbom.txt`) against the known vulnerabilities.

pip-audit asks the Python Package Index. Where that cannot be asked, or knows none of the packages, as a mirror does,
nothing is known, which is said and is no failure; a vulnerability is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("run.txt", "build.txt", "sbom.txt")
TIMEOUT = 10
"""Seconds for one answer."""
PATIENCE = 120
"""Seconds for all that is to be known of a file: a question for each package, one after the other."""


def main() -> int:
    """Return the exit code: 1 where something is vulnerable."""
    code = 0
    for name in FILES:
        bad, line = audited(HERE / name)
        sys.stderr.write(f"{name}: {line}\n")
        code = max(code, int(bad))
    return code


def audited(file: Path) -> tuple[bool, str]:
    """Return whether something of the file is vulnerable, and what to say of it."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner=off"),
        *("--timeout", str(TIMEOUT), "--format", "json", "--requirement", str(file)),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, check=False, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return judged("", f"no answer within {PATIENCE} s")
    return judged(done.stdout, done.stderr)


def judged(found: str, said: str) -> tuple[bool, str]:
    """Judge what pip-audit printed, and said besides."""
    try:
        packages = json.loads(found)["dependencies"]
    except ValueError:
        why = said.strip().splitlines()
        return False, f"SKIPPED, nothing is known: {why[-1] if why else 'pip-audit said nothing'}"
    known = [each for each in packages if "skip_reason" not in each]
    bad = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in {', '.join(fixes) or 'no release'}"
        for each in known
        for vulnerability in each["vulns"]
        for fixes in [vulnerability["fix_versions"]]
    ]
    if bad:
        return True, "VULNERABLE\n  " + "\n  ".join(bad)
    if not known:
        why = packages[0]["skip_reason"] if packages else "no packages"
        return False, f"SKIPPED, nothing is known of any of {len(packages)} packages: {why}"
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    rest = f"; nothing is known of {', '.join(unknown)}" if unknown else ""
    return False, f"no known vulnerability in {len(known)} packages{rest}"


if __name__ == "__main__":
    sys.exit(main())
