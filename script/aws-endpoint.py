#!/usr/bin/env python3
"""A local AWS endpoint: MiniStack, with what its CloudFormation ignores filled in and with state that survives SIGKILL.

Nothing of MiniStack is copied or changed on disk; this file replaces functions of it at run time, so it runs with one
version of it only. `aws_endpoint/templates.py` has CloudFormation's properties and refusals, `aws_endpoint/durability.py`
holds an answer back until what it acknowledges is in the data folder, and this is the server.

What an answer promises, with --data:
  S3 objects              body, metadata, checksums, versions, tags: written before the answer, by MiniStack itself.
  SQS                     a sent message, a deletion, a deduplication id: in the journal before the answer.
  everything else         one snapshot of the service's state, in the same transaction as the journal, before the answer.
One flush serves all requests that wait for it. SIGKILL, an abort and an out-of-memory kill lose nothing acknowledged; a
power cut can lose the last transactions, for the file system is not told to sync. In-flight multipart uploads are lost.
A stack operation that was under way when the process ended reads as failed after the restart, as it cannot go on.
"""

import argparse
import asyncio
import fcntl
import importlib.metadata
import logging
import os
import re
import resource
import signal
import sys
from pathlib import Path

from aws_endpoint.durability import finish_overwrites, make_durable
from aws_endpoint.templates import (
    patch_access_keys,
    patch_alarms,
    patch_batch_actions,
    patch_buckets,
    patch_change_sets,
    patch_copied_parts,
    patch_deduplication,
    patch_drift,
    patch_form_signers,
    patch_ranges_of_versions,
    patch_refusals,
    patch_secrets,
)

MINISTACK = "1.5.33"


def arguments():
    parser = argparse.ArgumentParser(description="A local AWS endpoint on 127.0.0.1, with IAM enforced.")
    parser.add_argument("--port", type=int, default=4566, help="default %(default)s")
    kept = parser.add_mutually_exclusive_group(required=True)
    kept.add_argument("--data", type=Path, metavar="DIR", help="keep state in this folder; survives SIGKILL")
    kept.add_argument("--memory", action="store_true", help="keep nothing")
    parser.add_argument("--region", default="us-east-1", help="for requests that name none; default %(default)s")
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args()


def environment(options):
    """MiniStack is configured by its environment, which it reads when it is imported; nothing of the caller's gets in."""
    foreign = re.compile(r"(MINISTACK|LOCALSTACK|LAMBDA|S3|SFTP|IOT|EDGE)_.*|SERVICES|USE_SSL|AUTH|PERSIST_STATE|STATE_DIR|DEBUG")
    for name in [name for name in os.environ if foreign.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(
        AUTH="true", BIND_HOST="127.0.0.1", GATEWAY_PORT=str(options.port), MINISTACK_REGION=options.region,
        LOG_LEVEL=options.log_level, IOT_MTLS_ENABLED="0", SFTP_ENABLED="0",
    )
    if options.data:
        os.environ.update(PERSIST_STATE="1", S3_PERSIST="1", STATE_DIR=str(options.data / "state"), S3_DATA_DIR=str(options.data / "s3"))


def main():
    options = arguments()
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        found = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"aws-endpoint: ministack {MINISTACK} is not installed for {sys.executable}: run script/bootstrap")
    if found != MINISTACK:
        sys.exit(f"aws-endpoint: made for ministack {MINISTACK}, found {found}: run script/bootstrap")
    if options.data:
        options.data = options.data.resolve()
        options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(options.data / "lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"aws-endpoint: another one runs with {options.data}")
        finish_overwrites(options.data / "overwrites")
    environment(options)

    import ministack.app as app
    import ministack.services.cloudformation.changesets as changesets
    import ministack.services.cloudformation.drift as drift
    import ministack.services.cloudformation.handlers as handlers
    import ministack.services.cloudformation.provisioners as provisioners
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.core import iam_actions, responses
    from ministack.services import cloudwatch, iam, kms, s3, secretsmanager, sqs

    patch_buckets(provisioners, s3)
    patch_refusals(provisioners, iam, kms)
    patch_secrets(provisioners, secretsmanager)
    patch_drift(drift, cloudwatch)
    patch_alarms(provisioners)
    patch_change_sets(handlers, changesets)
    patch_access_keys(provisioners, iam)
    patch_batch_actions(iam_actions)
    patch_form_signers(s3, responses)
    patch_deduplication(sqs)
    patch_copied_parts(s3)
    patch_ranges_of_versions(s3)
    served = make_durable(app, options.data) if options.data else app.app

    config = Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = options.log_level
    config.accesslog = None

    # A burst of connections must not meet the default limit of 1,024 open files.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))

    async def run():
        end = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, end.set)
        await serve(served, config, shutdown_trigger=end.wait)

    try:
        asyncio.run(run())
    except OSError as fault:
        sys.exit(f"aws-endpoint: {fault}")


if __name__ == "__main__":
    main()
