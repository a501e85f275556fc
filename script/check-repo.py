#!/usr/bin/env python3
"""Checks what is in the repository: no machine's paths, no registry hosts, no secrets, no Rust file that is too long.

Looks at the files git knows, as they are in the checkout. A line that has to break a rule says so: `check-repo: allow`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = "check-repo: allow"
WARN_LINES, FAIL_LINES = 500, 600

RULES = {
    "a path of one machine": re.compile(r"""(?:^|[\s"'`=:(,\[<>])(?:/(?:root|home|work|Users)/[A-Za-z0-9._-]|[A-Z]:\\Users\\)"""),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an AWS access key id": re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    "an AWS secret": re.compile(r"""(?i)(?:aws|secret)[a-z_]*(?:access|secret)[a-z_]*key["']?\s*[:=]\s*["']?[A-Za-z0-9/+]{40}\b"""),
    "a token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|xox[abprs]-[A-Za-z0-9-]{10,}|glpat-[A-Za-z0-9_-]{20})\b"),
    "credentials in a URL": re.compile(r"\bhttps?://[^/\s:@{}$<>]+:[^/\s@{}$<>]+@"),
    # Hosts of package registries, and settings that name one: where packages come from is the machine's business.
    "a registry host": re.compile(
        r"(?i)\b(?:(?:index|static)\.crates\.io|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org|(?:deb|ftp|security)\.debian\.org"
        r"|[a-z0-9.-]*(?:artifactory|nexus|mirror)[a-z0-9-]*\.[a-z]{2,})\b|pypi\.org/simple"
        r"|(?:^|\s)--?(?:extra-)?(?:index-url|find-links)[ =]\S*://|^\s*replace-with\s*="),
    "an address in a private network": re.compile(r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}(?::\d+)?/"),
}
# The documentation of AWS uses these; they are no secrets.
EXAMPLES = re.compile(r"AKIAIOSFODNN7EXAMPLE|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
# cargo writes these files, and a lock names the index.
EXEMPT = {"Cargo.lock": {"a registry host"}, "script/check-deps.py": {"a registry host"}, "script/check-repo.py": {"a registry host"}}


def machine_hosts():
    """Hosts that this machine is set up to get packages from, other than the public ones, so that none slips in."""
    texts = [v for k, v in os.environ.items() if re.match(r"(PIP|UV|CARGO|RUSTUP|NPM)_", k)]
    home = Path.home()
    for path in (home / ".cargo/config.toml", home / ".pip/pip.conf", home / ".config/pip/pip.conf", Path("/etc/pip.conf"),
                 Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue
    hosts = {h.lower() for t in texts for h in re.findall(r"https?://(?:[^/@\s\"']*@)?([A-Za-z0-9.-]+)", t)}
    public = re.compile(r"(?:.*\.)?(?:github\.com|crates\.io|rust-lang\.org|debian\.org|python\.org|pypi\.org|localhost)|127\.0\.0\.1")
    return {h for h in hosts if "." in h and not public.fullmatch(h)}


def main():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    rules = dict(RULES)
    if hosts := machine_hosts():
        rules["a host of this machine's package settings"] = re.compile("|".join(map(re.escape, sorted(hosts))), re.I)
    wrong, warnings, files = [], [], 0
    for name in filter(None, names):
        try:
            content = (ROOT / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            continue
        files += 1
        if b"\0" in content[:8192]:
            continue
        lines = content.decode("utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if ALLOWED in line:
                continue
            for what, rule in rules.items():
                if what not in EXEMPT.get(name, ()) and rule.search(EXAMPLES.sub("", line)):
                    wrong.append(f"{name}:{number}: {what}")
        generated = "generated" in Path(name).parts or any("@generated" in line for line in lines[:5])
        if name.endswith(".rs") and not generated:
            if len(lines) > FAIL_LINES:
                wrong.append(f"{name}: {len(lines)} lines, at most {FAIL_LINES}: split it")
            elif len(lines) > WARN_LINES:
                warnings.append(f"{name}: {len(lines)} lines, more than {WARN_LINES}")
    for line in warnings:
        print(f"warning: {line}")
    for line in wrong:
        print(f"error: {line}")
    print(f"check-repo: {files} files: {len(wrong)} errors, {len(warnings)} warnings")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
