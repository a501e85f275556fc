#!/usr/bin/env python3
"""Checks what the workspace depends on: licences, sources, versions, and that each direct dependency has a reason.

Reads `cargo metadata --locked`, which needs no network once the crates are there. Status 1 when something is wrong;
warnings alone do not fail. --list prints each licence expression with the crates that have it.
"""

import collections
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REASONS = ROOT / "docs" / "dependencies.md"
CRATES_IO = re.compile(r"registry\+https://github\.com/rust-lang/crates\.io-index|sparse\+https://index\.crates\.io/")

PERMITTED = {
    "0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CDLA-Permissive-2.0",
    "ISC", "MIT", "MIT-0", "MPL-2.0", "NCSA", "OpenSSL", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "Zlib",
}
# An exception only adds permissions; one that is not listed makes the expression unknown.
EXCEPTIONS = {"LLVM-exception"}
# Crates that name a file instead of an expression: what a file with that digest says, read by a human.
READ_BY_HAND = {
    "cf8fe04521deeb6f99f644570bc8bee71c11dc410dbb72bccfb3a51829860c7b": "MIT",  # Temporal Technologies, 2021
}
# Two major versions of these in one binary mean two pools, two runtimes or two kinds of the same type.
ONCE = {
    "tokio", "hyper", "http", "rustls", "aws-lc-rs", "ring", "tonic", "prost", "tower", "serde", "bytes", "chrono", "clap",
    "tracing-core", "sha2", "rand", "axum", "thiserror", "syn", "hashbrown",
}


def permitted(expression):
    """Whether an SPDX expression can be satisfied with permitted licences only. `/` is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return tokens[position].upper() if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def one():
        if peek() is None:
            raise ValueError(expression)
        if peek() == "(":
            take()
            result = any_of()
            if peek() != ")":
                raise ValueError(expression)
            take()
            return result
        name = take().removesuffix("+")
        if name.upper() in ("AND", "OR", "WITH", ")"):
            raise ValueError(expression)
        result = name in PERMITTED
        if peek() == "WITH":
            take()
            result = take() in EXCEPTIONS and result
        return result

    def all_of():
        result = one()
        while peek() == "AND":
            take()
            result = one() and result
        return result

    def any_of():
        result = all_of()
        while peek() == "OR":
            take()
            result = all_of() or result
        return result

    result = any_of()
    if position != len(tokens):
        raise ValueError(expression)
    return result


def self_test():
    """The parser on the forms that are seen; cheap, so it runs each time."""
    for expression, expected in {
        "MIT": True, "MIT/Apache-2.0": True, "GPL-3.0-only": False, "MIT OR GPL-3.0-or-later": True, "MIT AND GPL-2.0": False,
        "(MIT OR Apache-2.0) AND Unicode-3.0": True, "(MIT OR GPL-2.0) AND LGPL-2.1": False, "BUSL-1.1": False, "SSPL-1.0": False,
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT": True, "Apache-2.0 WITH Commons-Clause": False,
        "AGPL-3.0 OR (GPL-2.0 AND MIT)": False, "ISC AND (Apache-2.0 OR ISC) AND OpenSSL": True,
    }.items():
        assert permitted(expression) is expected, expression


def read_by_hand(package):
    """The licence that a crate has only as a file, if the file is one that was read."""
    path = Path(package["manifest_path"]).parent / (package["license_file"] or "")
    return READ_BY_HAND.get(hashlib.sha256(path.read_bytes()).hexdigest()) if path.is_file() else None


def major(version):
    """The part of a version that a compatible change keeps."""
    first, second, third = re.match(r"(\d+)\.(\d+)\.(\d+)", version).groups()
    return first if first != "0" else f"0.{second}" if second != "0" else f"0.0.{third}"


def main():
    self_test()
    run = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"check-deps: cargo metadata failed:\n{run.stderr}")
    metadata = json.loads(run.stdout)
    members = set(metadata["workspace_members"])
    wrong, warnings = [], []

    licences, versions, direct = collections.defaultdict(list), collections.defaultdict(set), {}
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["id"] in members:
            for dependency in package["dependencies"]:
                if dependency["source"] is None:
                    continue
                direct.setdefault(dependency["name"], set()).add(package["name"])
                if "*" in dependency["req"]:
                    wrong.append(f"{package['name']}: wildcard version of {dependency['name']}: {dependency['req']}")
            continue
        versions[package["name"]].add(package["version"])
        if package["source"] is None:
            if ROOT not in Path(package["manifest_path"]).resolve().parents:
                wrong.append(f"{name}: a path outside of the repository")
        elif not CRATES_IO.fullmatch(package["source"]):
            wrong.append(f"{name}: not from crates.io: {package['source']}")
        expression = package["license"] or read_by_hand(package)
        if not expression:
            wrong.append(f"{name}: no licence expression, only {package['license_file'] or 'nothing'}")
            continue
        licences[expression].append(name)
        try:
            if not permitted(expression):
                wrong.append(f"{name}: licence {expression} is not permitted")
        except ValueError:
            wrong.append(f"{name}: licence expression not understood: {expression}")

    for name in sorted(ONCE & versions.keys()):
        majors = {major(v) for v in versions[name]}
        if len(majors) > 1:
            warnings.append(f"{name} is there in {len(majors)} incompatible versions: {', '.join(sorted(versions[name]))}")

    reasons = set()
    if REASONS.exists():
        reasons = set(re.findall(r"^\| *`?([A-Za-z0-9_-]+)`? *\| *[^|\s][^|]*\|", REASONS.read_text(), re.M)) - {"crate", "---"}
    where = REASONS.relative_to(ROOT)
    wrong += [f"{name}: no line in {where}; used by {', '.join(sorted(direct[name]))}" for name in sorted(direct.keys() - reasons)]
    warnings += [f"{where} has a line for {name}, which is not used" for name in sorted(reasons - direct.keys())]

    if "--list" in sys.argv:
        for expression, names in sorted(licences.items()):
            print(f"{expression}: {len(names)}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}")
    for line in warnings:
        print(f"warning: {line}")
    for line in wrong:
        print(f"error: {line}")
    print(f"check-deps: {sum(map(len, licences.values()))} crates, {len(direct)} of them direct: {len(wrong)} errors, {len(warnings)} warnings")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
