"""State that survives SIGKILL: an answer is held back until what it acknowledges is in the data folder."""

import asyncio
import contextlib
import contextvars
import copy
import hashlib
import itertools
import json
import logging
import os
import re
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import unquote

log = logging.getLogger("aws-endpoint")

EVERYTHING = frozenset({"*"})
# The stores of the journal: a request can have added to them, or have changed locks of objects. What else it can have changed
# in a queue is known from the queues that it has looked up.
ADDED, LOCKS = frozenset({"+added"}), frozenset({"+locks"})
READS = ("Get", "List", "Describe", "BatchGet", "Head")


def locks(headers, scope):
    """Whether a write of an object says something of its retention or legal hold, or takes a version away."""
    named = any(name.startswith(b"x-amz-object-lock") for name in headers)
    return named or scope["method"] == "DELETE" or bool(re.search(rb"retention|legal-hold", scope.get("query_string", b"")))


def effects(scope):
    """Which services' states a request can have changed, and how far the journal has to be looked at; or None.

    A write of an object adds at most an event to a queue, and sending adds messages: what was there before is as it was.
    What receiving and deleting do is told by the queues that they look up, see `Queues`. Only what is certain is left out:
    the service is the one the request is signed for, and what cannot be told counts as everything. An answer of
    CloudFormation is held back even to a question, for it may report work of the background.
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
        return (LOCKS if locks(headers, scope) else ADDED) if bucket and key else EVERYTHING
    if service == "sqs" and action:
        if action.startswith(READS):
            return None
        return ADDED if re.match("(Send|Receive|Delete|Change)Message", action) else ADDED | {"sqs"}
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


class Queues:
    """SQS's queues, and which of them a request may have changed in more than what it added."""

    # The queues that the request of this context has looked up for more than sending.
    found = contextvars.ContextVar("queues found")
    ADD_OR_READ = ("sqs:SendMessage", "sqs:GetQueueAttributes")

    def __init__(self, sqs):
        self.all = sqs._queues._data
        find = sqs._get_q

        def noted(url, action=None):
            queue = find(url, action)
            if action not in self.ADD_OR_READ and (found := self.found.get(None)) is not None:
                found.add(id(queue))
            return queue

        sqs._get_q = noted


class OfQueues:
    """A store of the journal that has a part for each queue."""

    def __init__(self, queues):
        self.queues = queues

    def parts(self, dirty, touched):
        return {scope: id(queue) in touched for scope, queue in self.queues.all.items()}


class SqsMessages(OfQueues):
    """The messages of all queues, in their order."""

    name = "sqs.message"

    @staticmethod
    def entry(scope, message):
        return (*scope, message["id"]), (message["visible_at"], message["receipt_handle"], message["receive_count"]), message

    def items(self, scope):
        for message in self.queues.all[scope]["messages"]:
            yield self.entry(scope, message)

    def added(self, scope, known):
        messages = self.queues.all[scope]["messages"]
        new = list(itertools.takewhile(lambda m: (*scope, m["id"]) not in known, reversed(messages)))
        return [self.entry(scope, message) for message in reversed(new)]

    def restore(self, key, value):
        *scope, _ = key
        if tuple(scope) in self.queues.all:
            self.queues.all[tuple(scope)]["messages"].append(value)


class SqsDeduplication(OfQueues):
    """What a FIFO queue has seen in the last minutes, and the number it counts to."""

    name = "sqs.deduplication"

    def items(self, scope):
        queue = self.queues.all[scope]
        if queue["is_fifo"]:
            yield (*scope, "", "sequence"), queue["fifo_seq"], queue["fifo_seq"]
            for key, seen in queue["dedup_cache"].items():
                yield (*scope, key), seen["expire"], seen

    def added(self, scope, known):
        queue, sequence = self.queues.all[scope], (*scope, "", "sequence")
        if queue["is_fifo"] and known.get(sequence) != queue["fifo_seq"]:
            yield sequence, queue["fifo_seq"], queue["fifo_seq"]
            for key, seen in reversed(queue["dedup_cache"].items()):
                if known.get((*scope, key)) == seen["expire"]:
                    break
                yield (*scope, key), seen["expire"], seen

    def restore(self, key, value):
        queue = self.queues.all.get(tuple(key[:3]))
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

    def parts(self, dirty, touched):
        return {(): bool(dirty & LOCKS)}

    def items(self, part):
        for (account, (bucket, key, version)), value in self.store.items():
            yield (account, bucket, key, version), json.dumps(value), value

    def added(self, part, known):
        # A bucket can lock what is put into it without a word of the request. There are few.
        return [entry for entry in self.items(part) if entry[0] not in known]

    def restore(self, key, value):
        account, *rest = key
        self.store[(account, tuple(rest))] = value


class Keeper:
    """Writes what has changed to the journal, and lets answers go when what they acknowledge is there."""

    TICK_S = 0.5

    def __init__(self, app, persistence, journal, stores):
        self.app, self.persistence, self.journal, self.stores = app, persistence, journal, stores
        self.written = {}
        # Of each store, part by part: the entries of the journal, by key, with what tells that one has changed.
        self.known = {store.name: {} for store in stores}
        self.dirty, self.touched, self.waiting = set(), set(), []
        self.scheduled, self.not_before, self.requests = None, 0.0, 0
        self.longest = 0.0

    async def commit(self, what, touched):
        """Returns when a flush that began after this call has ended."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self.waiting.append(done)
        self.dirty |= what
        self.touched |= touched
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
        entries = [(store, json.dumps(key), self.persistence.plain(value)) for store, _, key, _, value in changed]
        if snapshots or entries or gone:
            self.journal.write(snapshots, entries, [(store, json.dumps(key)) for store, _, key in gone])
        self.written.update((service, hash(state)) for service, state in snapshots)
        for store, part, key, stamp, _ in changed:
            self.known[store].setdefault(part, {})[key] = stamp
        for store, part, key in gone:
            del self.known[store][part][key]
        self.dirty.clear()
        self.touched.clear()
        took = time.monotonic() - start
        self.longest = max(self.longest, took)
        with contextlib.suppress(RuntimeError):
            self.not_before = asyncio.get_running_loop().time() + took

    def _changes(self):
        services = self.dirty - ADDED - LOCKS
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
            parts = store.parts(self.dirty, self.touched)
            for part, touched in parts.items():
                before = known.get(part, {})
                if not touched and not self.dirty & EVERYTHING:
                    changed.extend((store.name, part, *entry) for entry in store.added(part, before))
                    continue
                here = set()
                for key, stamp, value in store.items(part):
                    here.add(key)
                    if before.get(key, before) != stamp:
                        changed.append((store.name, part, key, stamp, value))
                gone.extend((store.name, part, key) for key in before.keys() - here)
            gone.extend((store.name, part, key) for part in known.keys() - parts.keys() for key in known[part])
        return snapshots, changed, gone

    def restore(self):
        """Entries of the journal back into their stores; the snapshots are there already."""
        for store in self.stores:
            for key, value in self.journal.entries(store.name):
                store.restore(json.loads(key), self.persistence.loads(value))
            parts = store.parts(EVERYTHING, set())
            self.known[store.name] = {part: {key: stamp for key, stamp, _ in store.items(part)} for part in parts}

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
    queues = Queues(sqs)
    stores = [SqsMessages(queues), SqsDeduplication(queues),
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
        touched = set()
        Queues.found.set(touched)

        async def send_when_kept(message):
            nonlocal held, failed
            if held and message["type"] == "http.response.start":
                held = False
                try:
                    await keeper.commit(what, touched)
                except Exception:
                    failed = True
                    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
                    await send({"type": "http.response.body", "body": b""})
            if not failed:
                await send(message)

        await inner(scope, receive, send_when_kept)

    return served
