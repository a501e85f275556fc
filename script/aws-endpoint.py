#!/usr/bin/env python3
"""A local AWS endpoint: MiniStack, with what its CloudFormation ignores filled in and with state that survives SIGKILL.

Nothing of MiniStack is copied or changed on disk; this file replaces functions of it at run time, so it runs with one
version of it only. Three parts: templates (CloudFormation properties and refusals), durability (an answer is held back
until what it acknowledges is in the data folder), and the server.

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
import contextlib
import copy
import fcntl
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import re
import resource
import signal
import sqlite3
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element, SubElement, tostring

MINISTACK = "1.5.33"
log = logging.getLogger("aws-endpoint")

# --- Templates --------------------------------------------------------------------------------------------------------


def refuse_unless_ok(what, result):
    """Turns an error answer of a service into a failure of the resource."""
    if result[0] >= 400:
        raise ValueError(f"{what}: {result[2][:300]!r}")


def text(parent, tag, value):
    """A child element, unless there is no value."""
    if value is not None:
        SubElement(parent, tag).text = str(value).lower() if isinstance(value, bool) else str(value)


def encryption_xml(props):
    """BucketEncryption as the body of PutBucketEncryption."""
    root = Element("ServerSideEncryptionConfiguration")
    for rule in props.get("ServerSideEncryptionConfiguration") or []:
        default = rule.get("ServerSideEncryptionByDefault") or {}
        element = SubElement(root, "Rule")
        apply = SubElement(element, "ApplyServerSideEncryptionByDefault")
        text(apply, "SSEAlgorithm", default.get("SSEAlgorithm"))
        text(apply, "KMSMasterKeyID", default.get("KMSMasterKeyID"))
        text(element, "BucketKeyEnabled", rule.get("BucketKeyEnabled"))
    return tostring(root)


def lifecycle_filter(element, rule):
    """The Filter of a lifecycle rule: prefix, tags and sizes, under And when there are several."""
    conditions = [("Prefix", rule["Prefix"])] if "Prefix" in rule else []
    conditions += [("Tag", tag) for tag in rule.get("TagFilters") or []]
    conditions += [(size, rule[size]) for size in ("ObjectSizeGreaterThan", "ObjectSizeLessThan") if size in rule]
    parent = SubElement(element, "Filter")
    if len(conditions) > 1:
        parent = SubElement(parent, "And")
    for tag, value in conditions or [("Prefix", "")]:
        if tag == "Tag":
            child = SubElement(parent, "Tag")
            text(child, "Key", value["Key"])
            text(child, "Value", value["Value"])
        else:
            text(parent, tag, value)


def lifecycle_xml(props):
    """LifecycleConfiguration as the body of PutBucketLifecycleConfiguration."""
    root = Element("LifecycleConfiguration")
    for index, rule in enumerate(props.get("Rules") or []):
        element = SubElement(root, "Rule")
        text(element, "ID", rule.get("Id", f"rule-{index}"))
        lifecycle_filter(element, rule)
        text(element, "Status", rule["Status"])
        for moved in rule.get("Transitions") or ([rule["Transition"]] if "Transition" in rule else []):
            child = SubElement(element, "Transition")
            text(child, "Days", moved.get("TransitionInDays"))
            text(child, "Date", moved.get("TransitionDate"))
            text(child, "StorageClass", moved["StorageClass"])
        for moved in rule.get("NoncurrentVersionTransitions") or []:
            child = SubElement(element, "NoncurrentVersionTransition")
            text(child, "NoncurrentDays", moved.get("TransitionInDays"))
            text(child, "NewerNoncurrentVersions", moved.get("NewerNoncurrentVersions"))
            text(child, "StorageClass", moved["StorageClass"])
        if {"ExpirationInDays", "ExpirationDate", "ExpiredObjectDeleteMarker"} & rule.keys():
            child = SubElement(element, "Expiration")
            text(child, "Days", rule.get("ExpirationInDays"))
            text(child, "Date", rule.get("ExpirationDate"))
            text(child, "ExpiredObjectDeleteMarker", rule.get("ExpiredObjectDeleteMarker"))
        old = rule.get("NoncurrentVersionExpiration") or {"NoncurrentDays": rule.get("NoncurrentVersionExpirationInDays")}
        if old.get("NoncurrentDays") is not None:
            child = SubElement(element, "NoncurrentVersionExpiration")
            text(child, "NoncurrentDays", old["NoncurrentDays"])
            text(child, "NewerNoncurrentVersions", old.get("NewerNoncurrentVersions"))
        if "AbortIncompleteMultipartUpload" in rule:
            child = SubElement(element, "AbortIncompleteMultipartUpload")
            text(child, "DaysAfterInitiation", rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
    return tostring(root)


def cors_xml(props):
    """CorsConfiguration as the body of PutBucketCors."""
    root = Element("CORSConfiguration")
    for rule in props.get("CorsRules") or []:
        element = SubElement(root, "CORSRule")
        text(element, "ID", rule.get("Id"))
        for field, tag in (("AllowedHeaders", "AllowedHeader"), ("AllowedMethods", "AllowedMethod"),
                           ("AllowedOrigins", "AllowedOrigin"), ("ExposedHeaders", "ExposeHeader")):
            for value in rule.get(field) or []:
                text(element, tag, value)
        text(element, "MaxAgeSeconds", rule.get("MaxAge"))
    return tostring(root)


def lock_xml(props):
    """ObjectLockConfiguration as the body of PutObjectLockConfiguration."""
    root = Element("ObjectLockConfiguration")
    text(root, "ObjectLockEnabled", "Enabled")
    retention = (props.get("Rule") or {}).get("DefaultRetention")
    if retention:
        child = SubElement(SubElement(root, "Rule"), "DefaultRetention")
        for field in ("Mode", "Days", "Years"):
            text(child, field, retention.get(field))
    return tostring(root)


def patch_buckets(P, s3):
    """Bucket properties that are ignored otherwise; a bucket that holds something is not deleted; names are checked."""

    def put(what, function):
        return lambda name, body: refuse_unless_ok(f"AWS::S3::Bucket {what}", function(name, body))

    def put_lock_enabled(name, enabled):
        if str(enabled).lower() == "true":
            s3._bucket_versioning[name] = "Enabled"
            s3._bucket_object_lock.setdefault(name, {"enabled": True, "default_retention": None})

    def put_tags(name, tags):
        s3._bucket_tags[name] = P._tag_map(tags)

    def same(value):
        return value

    P._S3_BUCKET_CONFIGURATIONS += (
        ("BucketEncryption", encryption_xml, put("BucketEncryption", s3._put_bucket_encryption), s3._delete_bucket_encryption),
        ("LifecycleConfiguration", lifecycle_xml, put("LifecycleConfiguration", s3._put_bucket_lifecycle), s3._delete_bucket_lifecycle),
        ("CorsConfiguration", cors_xml, put("CorsConfiguration", s3._put_bucket_cors), s3._delete_bucket_cors),
        ("ObjectLockEnabled", same, put_lock_enabled, lambda name: None),
        ("ObjectLockConfiguration", lock_xml, put("ObjectLockConfiguration", s3._put_object_lock_configuration), lambda name: None),
        ("Tags", same, put_tags, s3._delete_bucket_tagging),
    )
    P._STACK_TAG_PROPERTY["AWS::S3::Bucket"] = ("Tags", "list")

    create_bucket, handler = P._s3_create, P._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    valid = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

    def create(logical_id, props, stack_name):
        name = props.get("BucketName")
        if name and not valid.fullmatch(name):
            raise ValueError(f"The specified bucket is not valid: {name} (Service: S3, Status Code: 400)")
        return create_bucket(logical_id, props, stack_name)

    def delete(physical_id, props, *args, **kwargs):
        if physical_id in s3._buckets:
            # The service's own call: it refuses a bucket with objects or versions and forgets everything else of it.
            refuse_unless_ok(f"The bucket {physical_id} cannot be deleted", s3._delete_bucket(physical_id))

    P._s3_create = create
    handler.update(create=create, delete=delete)


def patch_refusals(P, iam, kms):
    """Names that are taken, and an alias to a key that is not there, fail as they do on AWS."""

    def unless_taken(resource_type, prop, taken):
        handler = P._RESOURCE_HANDLERS[resource_type]
        inner = handler["create"]

        def create(logical_id, props, stack_name):
            name = props.get(prop)
            if name and taken(name):
                raise ValueError(f"{resource_type.split('::')[-1]} with name {name} already exists. (HandlerErrorCode: AlreadyExists)")
            return inner(logical_id, props, stack_name)

        handler["create"] = create

    unless_taken("AWS::IAM::Role", "RoleName", lambda name: name in iam._roles)
    unless_taken("AWS::IAM::User", "UserName", lambda name: name in iam._users)
    unless_taken("AWS::KMS::Alias", "AliasName", lambda name: kms._alias_arn(name) in kms._aliases)

    def alias_target(key):
        record = kms._resolve_key(key)
        if not record:
            raise ValueError(f"Key '{key}' does not exist (HandlerErrorCode: NotFound)")
        return record["KeyId"]

    P._kms_alias_target = alias_target


def patch_drift(drift, cloudwatch):
    """Drift detection sees an alarm that is gone, as AWS does; MiniStack does not look at alarms."""

    def read(physical_id, _props):
        return {} if physical_id in cloudwatch._alarms else None

    drift._DRIFT_READERS["AWS::CloudWatch::Alarm"] = (read, frozenset())


def patch_secrets(P, sm):
    """Ref of a secret is its ARN; the handlers beneath know secrets by name."""
    handler = P._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create_secret, update_secret, delete_secret = handler["create"], handler["update"], handler["delete"]

    def name_of(physical_id):
        return next((name for name, secret in sm._secrets.items() if secret.get("ARN") == physical_id), physical_id)

    def create(logical_id, props, stack_name):
        if props.get("Name") in sm._secrets:
            raise ValueError(f"The operation failed because the secret {props['Name']} already exists. (HandlerErrorCode: AlreadyExists)")
        _, attributes = create_secret(logical_id, props, stack_name)
        return attributes["Arn"], attributes

    def update(physical_id, old_props, new_props, stack_name, logical_id=None):
        name, attributes = update_secret(name_of(physical_id), old_props, new_props, stack_name, logical_id=logical_id)
        return sm._secrets[name]["ARN"], attributes

    def delete(physical_id, props, *args, **kwargs):
        return delete_secret(name_of(physical_id), props, *args, **kwargs)

    handler.update(create=create, update=update, delete=delete)


def patch_access_keys(P, iam):
    """AWS::IAM::AccessKey, which is refused otherwise."""

    def create(logical_id, props, stack_name):
        before = set(iam._access_keys)
        refuse_unless_ok("AWS::IAM::AccessKey", iam._create_access_key({"UserName": [props["UserName"]]}))
        (key,) = set(iam._access_keys) - before
        record = iam._access_keys[key]
        record["Status"] = props.get("Status", "Active")
        return key, {"SecretAccessKey": record["SecretAccessKey"]}

    def update(physical_id, old_props, new_props, stack_name, *args, **kwargs):
        if any(old_props.get(prop) != new_props.get(prop) for prop in ("UserName", "Serial")):
            return create(physical_id, new_props, stack_name)
        record = iam._access_keys[physical_id]
        record["Status"] = new_props.get("Status", "Active")
        return physical_id, {"SecretAccessKey": record["SecretAccessKey"]}

    def delete(physical_id, props, *args, **kwargs):
        iam._access_keys.pop(physical_id, None)

    P._RESOURCE_HANDLERS["AWS::IAM::AccessKey"] = {"create": create, "update": update, "delete": delete}


def patch_form_signers(s3, responses):
    """A form that a role's session signed is of the role's account, as any other request of that session is."""
    of_key = s3._account_from_access_key

    def account(access_key):
        return responses._account_from_sts_session(access_key) or of_key(access_key)

    s3._account_from_access_key = account


def patch_batch_actions(actions):
    """The batch calls of SQS are permitted by the action of a single message (SQS developer guide, "Amazon SQS API permissions")."""
    singles = {
        "sqs:SendMessageBatch": "sqs:SendMessage",
        "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    }
    extract = actions.extract_iam_action

    def with_singles(*args, **kwargs):
        action = extract(*args, **kwargs)
        return singles.get(action, action)

    actions.extract_iam_action = with_singles


def patch_copied_parts(s3):
    """S3 computes the checksum of a part that it copies, as of one that is sent, and says it in the answer."""
    inner = s3._upload_part_copy

    def upload_part_copy(bucket, key, query, headers):
        answer = inner(bucket, key, query, headers)
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
        algorithm = upload and upload.get("checksum_algorithm")
        if answer[0] != 200 or not algorithm:
            return answer
        part = upload["parts"][int(s3._qp(query, "partNumber", "1"))]
        value = s3._compute_s3_checksum(algorithm, part["body"])
        part["checksums"] = {algorithm: value}
        said = f"<Checksum{algorithm}>{value}</Checksum{algorithm}></CopyPartResult>".encode()
        return answer[0], answer[1], answer[2].replace(b"</CopyPartResult>", said)

    s3._upload_part_copy = upload_part_copy


def patch_ranges_of_versions(s3):
    """A range of a version is that range, as of the current object; MiniStack sends all of it."""
    inner = s3._get_object

    def get_object(bucket, key, headers, query_params=None):
        answer = inner(bucket, key, headers, query_params)
        wanted = headers.get("range", "")
        if answer[0] != 200 or not wanted or not s3._qp(query_params or {}, "versionId", ""):
            return answer
        _, said, body = answer
        found = s3._parse_range(wanted, len(body))
        if found is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, refused, s3._xml_body(s3._range_error_xml(bucket, key))
        start, end = found
        said = {name: value for name, value in said.items() if not name.lower().startswith("x-amz-checksum-")}
        said.update({"Content-Length": str(end + 1 - start), "Content-Range": f"bytes {start}-{end}/{len(body)}"})
        return 206, said, body[start:end + 1]

    s3._get_object = get_object


def patch_deduplication(sqs):
    """What a FIFO queue has seen for long enough is forgotten from the oldest on, without a look at all of it a message."""

    def prune(queue):
        seen, now = queue["dedup_cache"], time.time()
        while seen and seen[oldest := next(iter(seen))]["expire"] <= now:
            del seen[oldest]

    sqs._prune_dedup = prune


# --- Durability -------------------------------------------------------------------------------------------------------

EVERYTHING = frozenset({"*"})
# The stores of the journal: those that a request can have added to, and those in which it can have changed anything.
ADDED, CHANGED = frozenset({"+added"}), frozenset({"+changed"})
READS = ("Get", "List", "Describe", "BatchGet", "Head")


def locks(headers, scope):
    """Whether a write of an object says something of its retention or legal hold, or takes a version away."""
    named = any(name.startswith(b"x-amz-object-lock") for name in headers)
    return named or scope["method"] == "DELETE" or bool(re.search(rb"retention|legal-hold", scope.get("query_string", b"")))


def effects(scope):
    """Which services' states a request can have changed, and how far the journal has to be looked at; or None.

    A write of an object adds at most an event to a queue, and sending adds messages: what was there before is as it was.
    Only what is certain is left out: the service is the one the request is signed for, and what cannot be told counts as
    everything. An answer of CloudFormation is held back even to a question, for it may report work of the background.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    method, path = scope["method"], scope["path"]
    if path.startswith("/_ministack/"):
        return EVERYTHING if path.endswith("/reset") else None
    credential = re.search(rb"Credential(?:=|%3D)([^,&\s]+)", headers.get(b"authorization", b"") + b" " + scope.get("query_string", b""))
    parts = unquote(credential[1].decode("latin-1")).split("/") if credential else []
    service = parts[-2] if len(parts) >= 5 else ""
    action = headers.get(b"x-amz-target", b"").decode("latin-1").rpartition(".")[2]
    if service == "s3":
        if method in ("GET", "HEAD"):
            return None
        bucket, _, key = path.lstrip("/").partition("/")
        return (CHANGED if locks(headers, scope) else ADDED) if bucket and key else EVERYTHING
    if service == "sqs" and action:
        if action.startswith(READS):
            return None
        if action.startswith("SendMessage"):
            return ADDED
        return CHANGED if re.match("(Receive|Delete|Change)Message", action) else CHANGED | {"sqs"}
    if service == "kms" and re.match("Encrypt|Decrypt|ReEncrypt|GenerateData|Sign|Verify", action):
        return None
    if service in ("iam", "sts", "kms", "secretsmanager"):
        return None if action.startswith(READS) else ADDED | {service}
    if service != "cloudformation" and (action.startswith(READS) or (service and method in ("GET", "HEAD"))):
        return None
    return EVERYTHING


class Journal:
    """The data folder's database: snapshots of services, and the entries of stores that change too often for those."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        # The operating system keeps what a killed process wrote; only a power cut needs more.
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("CREATE TABLE IF NOT EXISTS snapshot (service TEXT PRIMARY KEY, state TEXT NOT NULL)")
        # The row id is the order of arrival, which an update keeps.
        self.db.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, store TEXT, key TEXT, value TEXT, UNIQUE (store, key))")

    def snapshots(self):
        return dict(self.db.execute("SELECT service, state FROM snapshot"))

    def entries(self, store):
        return self.db.execute("SELECT key, value FROM entry WHERE store = ? ORDER BY id", (store,)).fetchall()

    def write(self, snapshots, changed, gone):
        """All of it or nothing."""
        self.db.execute("BEGIN")
        try:
            self.db.executemany("INSERT INTO snapshot VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state", snapshots)
            self.db.executemany("DELETE FROM entry WHERE store = ? AND key = ?", gone)
            self.db.executemany(
                "INSERT INTO entry (store, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", changed
            )
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise


class SqsMessages:
    """The messages of all queues, in their order."""

    name = "sqs.message"

    def __init__(self, sqs):
        self.queues = sqs._queues._data

    @staticmethod
    def entry(scope, message):
        return (*scope, message["id"]), (message["visible_at"], message["receipt_handle"], message["receive_count"]), message

    def items(self):
        for scope, queue in self.queues.items():
            for message in queue["messages"]:
                yield self.entry(scope, message)

    def added(self, known):
        for scope, queue in self.queues.items():
            new = list(itertools.takewhile(lambda m: (*scope, m["id"]) not in known, reversed(queue["messages"])))
            yield from (self.entry(scope, message) for message in reversed(new))

    def restore(self, key, value):
        *scope, _ = key
        if tuple(scope) in self.queues:
            self.queues[tuple(scope)]["messages"].append(value)


class SqsDeduplication:
    """What a FIFO queue has seen in the last minutes, and the number it counts to."""

    name = "sqs.deduplication"

    def __init__(self, sqs):
        self.queues = sqs._queues._data

    def items(self):
        for scope, queue in self.queues.items():
            if queue["is_fifo"]:
                yield (*scope, "", "sequence"), queue["fifo_seq"], queue["fifo_seq"]
                for key, seen in queue["dedup_cache"].items():
                    yield (*scope, key), seen["expire"], seen

    def added(self, known):
        for scope, queue in self.queues.items():
            sequence = (*scope, "", "sequence")
            if queue["is_fifo"] and known.get(sequence) != queue["fifo_seq"]:
                yield sequence, queue["fifo_seq"], queue["fifo_seq"]
                for key, seen in reversed(queue["dedup_cache"].items()):
                    if known.get((*scope, key)) == seen["expire"]:
                        break
                    yield (*scope, key), seen["expire"], seen

    def restore(self, key, value):
        queue = self.queues.get(tuple(key[:3]))
        if queue is None:
            return
        if len(key) == 5:
            queue["fifo_seq"] = value
        else:
            queue["dedup_cache"][key[3]] = value


class ObjectLocks:
    """Retention and legal holds of object versions, which MiniStack keeps in memory only."""

    def __init__(self, name, store):
        self.name, self.store = name, store._data

    def items(self):
        for (account, (bucket, key, version)), value in self.store.items():
            yield (account, bucket, key, version), json.dumps(value), value

    def added(self, known):
        # A bucket can lock what is put into it without a word of the request. There are few.
        return [entry for entry in self.items() if entry[0] not in known]

    def restore(self, key, value):
        account, *rest = key
        self.store[(account, tuple(rest))] = value


class Keeper:
    """Writes what has changed to the journal, and lets answers go when what they acknowledge is there."""

    TICK_S = 0.5

    def __init__(self, app, persistence, journal, stores):
        self.app, self.persistence, self.journal, self.stores = app, persistence, journal, stores
        self.written = {}
        self.known = {store.name: {} for store in stores}
        self.dirty, self.waiting = set(), []
        self.scheduled, self.not_before, self.requests = None, 0.0, 0
        self.longest = 0.0

    async def commit(self, what):
        """Returns when a flush that began after this call has ended."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self.waiting.append(done)
        self.dirty |= what
        self.requests += 1
        if self.scheduled is None:
            # Never more than half of the time: the slower a flush is, the more requests share the next one.
            self.scheduled = loop.call_later(max(0.0, self.not_before - loop.time()), self._serve)
        await done

    def _serve(self):
        self.scheduled = None
        waiting, self.waiting = self.waiting, []
        try:
            self.flush()
        except Exception as fault:
            log.error("flush failed: %r", fault)
            for done in waiting:
                done.done() or done.set_exception(fault)
        else:
            for done in waiting:
                done.done() or done.set_result(None)

    def flush(self, everything=False):
        """One transaction with all that changed since the last one. What fails stays marked and is tried again."""
        start = time.monotonic()
        if everything:
            self.dirty |= EVERYTHING
        # Threads of services change dictionaries while they are read; that shows as a RuntimeError.
        for attempt in range(5):
            try:
                snapshots, changed, gone = self._changes()
                break
            except RuntimeError:
                if attempt == 4:
                    raise
        entries = [(store, json.dumps(key), self.persistence.plain(value)) for store, key, _, value in changed]
        if snapshots or entries or gone:
            self.journal.write(snapshots, entries, [(store, json.dumps(key)) for store, key in gone])
        self.written.update((service, hash(state)) for service, state in snapshots)
        for store, key, stamp, _ in changed:
            self.known[store][key] = stamp
        for store, key in gone:
            del self.known[store][key]
        self.dirty.clear()
        took = time.monotonic() - start
        self.longest = max(self.longest, took)
        with contextlib.suppress(RuntimeError):
            self.not_before = asyncio.get_running_loop().time() + took

    def _changes(self):
        services = self.dirty - ADDED - CHANGED
        snapshots = []
        with self.persistence.shared_copies():
            for service, get_state in self.app._build_persistence_save_dict().items() if services else ():
                if "*" not in services and service not in services:
                    continue
                state = get_state()
                if state is None:
                    continue
                state = self.persistence.dumps(service, state)
                if self.written.get(service) != hash(state):
                    snapshots.append((service, state))
        changed, gone = [], []
        for store in self.stores:
            known = self.known[store.name]
            if not self.dirty & (CHANGED | EVERYTHING):
                changed.extend((store.name, *entry) for entry in store.added(known))
                continue
            here = set()
            for key, stamp, value in store.items():
                here.add(key)
                if known.get(key, known) != stamp:
                    changed.append((store.name, key, stamp, value))
            if len(here) < len(known) or not known.keys() <= here:
                gone.extend((store.name, key) for key in known.keys() - here)
        return snapshots, changed, gone

    def restore(self):
        """Entries of the journal back into their stores; the snapshots are there already."""
        for store in self.stores:
            for key, value in self.journal.entries(store.name):
                store.restore(json.loads(key), self.persistence.loads(value))
            self.known[store.name] = {key: stamp for key, stamp, _ in store.items()}

    async def tick(self):
        """Catches what changes without a request: stack operations, schedules, deliveries."""
        seen, idle, took = -1, 0, 0.0
        while True:
            # A tenth of the time at most: it writes the states of all services, which grow.
            await asyncio.sleep(max(self.TICK_S, 9 * took))
            idle += 1
            if seen != self.requests or idle >= 10:
                seen, idle, began = self.requests, 0, time.monotonic()
                with contextlib.suppress(Exception):
                    self.flush(everything=True)
                took = time.monotonic() - began


class Persistence:
    """MiniStack's own format of states, to and from the journal instead of files."""

    def __init__(self, module, journal):
        self.module, self.journal = module, journal
        self.sharing = threading.local()

    def plain(self, value):
        return json.dumps(value, default=self.module._json_default)

    def loads(self, value):
        return json.loads(value, object_hook=self.module._json_object_hook)

    def dumps(self, service, state):
        return self.plain({"__ministack_format__": self.module._state_format_version(service), "payload": state})

    def load_state(self, service):
        state = self.snapshots.get(service)
        return self.loads(state)["payload"] if state else None

    @contextlib.contextmanager
    def shared_copies(self):
        """Within it, and in this thread only, the services of `share` hand out their state instead of a deep copy of it.

        A copy costs ten times the rest of a flush, and nothing runs between taking the state and writing it down.
        """
        self.sharing.on = True
        try:
            yield
        finally:
            self.sharing.on = False

    def share(self, *modules):
        """For modules whose get_state only copies: one that edits its copy must keep it."""
        sharing = self.sharing

        class Copy:
            copy, error = copy.copy, copy.error

            @staticmethod
            def deepcopy(value, memo=None):
                return value if getattr(sharing, "on", False) else copy.deepcopy(value, memo)

        for module in modules:
            module.copy = Copy


def patch_events(s3):
    """Events of a bucket that go to queues only are in their queues before the answer, not in a thread after it."""
    in_thread = s3._fire_s3_event_async

    def fire(bucket, key, event, size=0, etag="", deletion_type=None, **more):
        raw = s3._bucket_notifications.get(bucket)
        if raw is None:
            return
        if "EventBridgeConfiguration" in raw or any(c["type"] != "sqs" for c in s3._parse_notification_config_raw(raw)):
            in_thread(bucket, key, event, size, etag, deletion_type, **more)
        else:
            s3._fire_s3_event(bucket, key, event, size, etag, deletion_type, sequencer=s3._next_event_sequencer(event), **more)

    s3._fire_s3_event_async = fire


def patch_object_files(s3, overwrites):
    """An object's body and metadata are two files, written one after the other: a kill in between must leave no mixture.

    A new object's metadata comes first, which alone is nothing. An overwrite is noted before, for `finish_overwrites`.
    """
    persist = s3._persist_object
    overwrites.mkdir(exist_ok=True)

    def persist_object(bucket, key, record):
        path = s3._object_disk_path(bucket, key)
        if not path or not isinstance(record, dict) or record.get("body") is None:
            persist(bucket, key, record)
            return
        meta = json.dumps({**s3._object_meta_from_record(record), **s3._key_history_meta(bucket, key), "key": key})
        if os.path.exists(path):
            note = overwrites / uuid.uuid4().hex
            body = hashlib.sha256(record["body"]).hexdigest()
            s3._atomic_write(str(note), json.dumps({"path": path, "body": body, "meta": json.loads(meta)}), text=True)
            persist(bucket, key, record)
            if record.get("body") is not None:
                # MiniStack logs a failed write and goes on; the answer must not say that the object is stored.
                raise OSError(f"cannot store s3://{bucket}/{key}")
            note.unlink()
            return
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        s3._atomic_write(path + ".meta.json", meta, text=True)
        s3._atomic_write(path, record["body"])
        # It is read from its file from now on.
        record["body"] = None
        s3._remove_key_files(s3._other_key_disk_path(os.path.join(s3.DATA_DIR, s3.get_account_id(), bucket), key, path))

    s3._persist_object = persist_object


def finish_overwrites(overwrites):
    """Gives a new body its new metadata where a kill came between the two. Before MiniStack reads the objects."""
    for note in overwrites.glob("*") if overwrites.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            noted = json.loads(note.read_text())
            path = Path(noted["path"])
            if hashlib.sha256(path.read_bytes()).hexdigest() == noted["body"]:
                new = Path(f"{path}.meta.json.tmp")
                new.write_text(json.dumps(noted["meta"]))
                new.replace(f"{path}.meta.json")
        note.unlink()


def end_interrupted_operations(cloudformation):
    """A stack operation died with the process that ran it. Its stack says so instead of being in progress for ever."""
    for stack in cloudformation._stacks._data.values():
        status = stack.get("StackStatus", "")
        if status == "REVIEW_IN_PROGRESS" or not status.endswith("_IN_PROGRESS"):
            continue
        if status.endswith("_CLEANUP_IN_PROGRESS"):
            stack["StackStatus"] = status.removesuffix("_CLEANUP_IN_PROGRESS")
        else:
            stack["StackStatus"] = status.removesuffix("_IN_PROGRESS") + "_FAILED"
        stack["StackStatusReason"] = "The local endpoint ended during the operation"
        log.warning("stack %s was %s, is %s now", stack.get("StackName"), status, stack["StackStatus"])


def make_durable(app, data):
    """Replaces MiniStack's persistence, which writes at an orderly end only. Returns the application to serve."""
    from ministack.core import persistence as ministack_persistence
    from ministack.services import cloudformation, iam, s3, secretsmanager, sqs, sts

    journal = Journal(data / "state.sqlite")
    persistence = Persistence(ministack_persistence, journal)
    persistence.snapshots = journal.snapshots()
    persistence.share(cloudformation, iam, s3, secretsmanager)
    stores = [SqsMessages(sqs), SqsDeduplication(sqs),
              ObjectLocks("s3.retention", s3._object_retention), ObjectLocks("s3.legal-hold", s3._object_legal_hold)]
    keeper = Keeper(app, persistence, journal, stores)

    def sqs_state():
        queues = sqs._queues.__class__()
        queues._data.update((scope, {**queue, "messages": [], "dedup_cache": {}}) for scope, queue in sqs._queues._data.items())
        return {"queues": queues, "queue_name_to_url": sqs._queue_name_to_url}

    sqs.get_state = sqs_state
    # Sessions of assumed roles outlive a restart of AWS's servers too.
    sts.get_state = lambda: {"sessions": sts._sessions}
    sts.load_persisted_state = lambda state: sts._sessions.update(state.get("sessions", {}))

    patch_events(s3)
    patch_object_files(s3, data / "overwrites")
    load_snapshots = app._load_persisted_state

    def load():
        load_snapshots()
        keeper.restore()
        end_interrupted_operations(cloudformation)

    app.load_state = persistence.load_state
    app.save_all = lambda services: keeper.flush(everything=True)
    app._load_persisted_state = load
    inner = app.app

    async def served(scope, receive, send):
        if scope["type"] == "lifespan":
            ticking = asyncio.get_running_loop().create_task(keeper.tick())
            try:
                await inner(scope, receive, send)
            finally:
                ticking.cancel()
            return
        what = effects(scope) if scope["type"] == "http" else None
        if what is None:
            await inner(scope, receive, send)
            return
        held, failed = True, False

        async def send_when_kept(message):
            nonlocal held, failed
            if held and message["type"] == "http.response.start":
                held = False
                try:
                    await keeper.commit(what)
                except Exception:
                    failed = True
                    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
                    await send({"type": "http.response.body", "body": b""})
            if not failed:
                await send(message)

        await inner(scope, receive, send_when_kept)

    return served


# --- Server -----------------------------------------------------------------------------------------------------------


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
    import ministack.services.cloudformation.drift as drift
    import ministack.services.cloudformation.provisioners as provisioners
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.core import iam_actions, responses
    from ministack.services import cloudwatch, iam, kms, s3, secretsmanager, sqs

    patch_buckets(provisioners, s3)
    patch_refusals(provisioners, iam, kms)
    patch_secrets(provisioners, secretsmanager)
    patch_drift(drift, cloudwatch)
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
