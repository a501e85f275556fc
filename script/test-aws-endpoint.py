#!/usr/bin/env python3
"""Tests script/aws-endpoint.py against itself: starts it, uses it through boto3, kills it with SIGKILL, looks again.

Run it with the Python of script/bootstrap. Arguments: names of tests, or none for all; --measure also prints speeds.
"""

import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

LAUNCHER = Path(__file__).with_name("aws-endpoint.py")
REGION, ACCOUNT = "eu-west-2", "111122223333"


class Endpoint:
    """A launcher process and clients for it."""

    def __init__(self, data=None):
        self.data, self.process = data, None
        self.port = free_port()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.stop(signal.SIGTERM)

    def start(self):
        kept = ["--data", self.data] if self.data else ["--memory"]
        self.process = subprocess.Popen([sys.executable, LAUNCHER, "--port", str(self.port), "--region", REGION, *kept])
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_ministack/health", timeout=1).close()
                return
            time.sleep(0.05)
        raise AssertionError("the endpoint did not start")

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(20)
        self.process = None

    def kill_and_restart(self, port=None):
        self.stop(signal.SIGKILL)
        self.port = port or self.port
        self.start()

    def client(self, service, credentials=None, retries=0):
        key, secret, token = credentials or (ACCOUNT, "test", None)
        return boto3.client(
            service, endpoint_url=f"http://127.0.0.1:{self.port}", region_name=REGION, aws_access_key_id=key,
            aws_secret_access_key=secret, aws_session_token=token,
            config=Config(retries={"total_max_attempts": retries + 1}, max_pool_connections=64, connect_timeout=5, read_timeout=30),
        )

    def assume(self, role, **more):
        """Credentials of a role, by a user with a signature that is checked."""
        c = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test", **more)["Credentials"]
        return c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"]

    def deploy(self, name, template, update=False, **more):
        cfn = self.client("cloudformation")
        call = cfn.update_stack if update else cfn.create_stack
        call(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"], **more)
        return self.settled(name)

    def settled(self, name):
        cfn, end = self.client("cloudformation"), time.monotonic() + 30
        while time.monotonic() < end:
            try:
                stack = cfn.describe_stacks(StackName=name)["Stacks"][0]
            except ClientError as fault:
                if "does not exist" in str(fault):
                    return {"StackStatus": "GONE"}
                raise
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack
            time.sleep(0.02)
        raise AssertionError(f"stack {name} did not settle")


def free_port():
    """One below those that outgoing connections are given: such a one could be taken before the server has it."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(15000, 31000)))
            except OSError:
                continue
            return s.getsockname()[1]


def sha256(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def refused(call, *codes, **arguments):
    """Asserts that a call is refused with one of the codes."""
    try:
        call(**arguments)
    except ClientError as fault:
        assert fault.response["Error"]["Code"] in codes, f"{fault} is not {codes}"
    else:
        raise AssertionError(f"not refused: {arguments}")


def allow(*statements):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]}


def organization(name):
    """A template of what an organization owns, small."""
    arn = {"Fn::GetAtt": ["Bucket", "Arn"]}
    return {"Resources": {
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": allow(
            {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"})}},
        "Alias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": f"alias/{name}", "TargetKeyId": {"Ref": "Key"}}},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": f"{name}-events"}},
        "QueuePolicy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": allow(
            {"Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}})}},
        "Bucket": {"Type": "AWS::S3::Bucket", "DependsOn": "QueuePolicy", "Properties": {
            "BucketName": f"ll-{name}",
            "VersioningConfiguration": {"Status": "Enabled"},
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [{"BucketKeyEnabled": True, "ServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]}}}]},
            "LifecycleConfiguration": {"Rules": [
                {"Id": "old", "Status": "Enabled", "Prefix": "in/", "TagFilters": [{"Key": "k", "Value": "v"}],
                 "Transitions": [{"TransitionInDays": 30, "StorageClass": "GLACIER_IR"}],
                 "NoncurrentVersionExpiration": {"NoncurrentDays": 90}},
                {"Id": "parts", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}}]},
            "ObjectLockEnabled": True,
            "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}},
            "NotificationConfiguration": {"QueueConfigurations": [
                {"Event": "s3:ObjectCreated:*", "Queue": {"Fn::GetAtt": ["Queue", "Arn"]}}]},
            "Tags": [{"Key": "organization", "Value": name}]}},
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": f"{name}/share", "SecretString": f"secret of {name}"}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {
            "RoleName": f"{name}-worker",
            "AssumeRolePolicyDocument": allow({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}),
            "Policies": [{"PolicyName": "own", "PolicyDocument": allow(
                {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": {"Fn::Join": ["", [arn, "/*"]]}},
                {"Action": "s3:ListBucket", "Resource": arn},
                {"Action": ["sqs:SendMessage", "sqs:ReceiveMessage"], "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}},
                {"Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"], "Resource": {"Fn::GetAtt": ["Key", "Arn"]}},
                {"Action": "secretsmanager:GetSecretValue", "Resource": {"Ref": "Secret"}})}]}},
        "User": {"Type": "AWS::IAM::User", "Properties": {"UserName": f"{name}-device"}},
        "AccessKey": {"Type": "AWS::IAM::AccessKey", "Properties": {"UserName": {"Ref": "User"}}},
    }, "Outputs": {
        "Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}}, "Key": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}},
        "Queue": {"Value": {"Ref": "Queue"}}, "Secret": {"Value": {"Ref": "Secret"}},
        "AccessKey": {"Value": {"Ref": "AccessKey"}}, "SecretKey": {"Value": {"Fn::GetAtt": ["AccessKey", "SecretAccessKey"]}}}}


def deployed(endpoint, name):
    stack = endpoint.deploy(name, organization(name), Tags=[{"Key": "project", "Value": "leadline"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    return {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}


def check_organization(endpoint, name, outputs):
    """Everything that the template says, as the services say it."""
    s3 = endpoint.client("s3")
    bucket = f"ll-{name}"
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": outputs["Key"]}, rule
    assert rule["BucketKeyEnabled"] is True
    rules = {r["ID"]: r for r in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["old"]["Filter"]["And"]["Prefix"] == "in/" and rules["old"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 90, rules
    assert rules["parts"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 3
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 1}, lock
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    tags = {t["Key"]: t["Value"] for t in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags["organization"] == name and tags["project"] == "leadline" and tags["aws:cloudformation:stack-name"] == name, tags
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert outputs["Secret"].startswith("arn:aws:secretsmanager:"), outputs
    secret = endpoint.client("secretsmanager").get_secret_value(SecretId=outputs["Secret"])
    assert secret["SecretString"] == f"secret of {name}"
    identity = endpoint.client("sts", (outputs["AccessKey"], outputs["SecretKey"], None)).get_caller_identity()
    assert identity["Arn"].endswith(f"user/{name}-device"), identity
    assert endpoint.settled(name)["StackStatus"] == "CREATE_COMPLETE"


def drain(sqs, url):
    """The bodies in a queue, which are deleted."""
    bodies = []
    while True:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
        if not messages:
            return bodies
        for m in messages:
            bodies.append(m["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])


# --- Tests ------------------------------------------------------------------------------------------------------------


def test_templates(data):
    """What templates say takes effect; an update changes and removes it."""
    with Endpoint() as e:
        outputs = deployed(e, "orga")
        check_organization(e, "orga", outputs)
        template = organization("orga")
        bucket = template["Resources"]["Bucket"]["Properties"]
        del bucket["LifecycleConfiguration"]
        bucket["Tags"] = [{"Key": "organization", "Value": "renamed"}]
        template["Resources"]["AccessKey"]["Properties"]["Status"] = "Inactive"
        template["Resources"]["Secret"]["Properties"]["SecretString"] = "other"
        stack = e.deploy("orga", template, update=True)
        assert stack["StackStatus"] == "UPDATE_COMPLETE", stack
        refused(e.client("s3").get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", Bucket="ll-orga")
        assert {"Key": "organization", "Value": "renamed"} in e.client("s3").get_bucket_tagging(Bucket="ll-orga")["TagSet"]
        assert e.client("secretsmanager").get_secret_value(SecretId=outputs["Secret"])["SecretString"] == "other"
        refused(e.client("sts", (outputs["AccessKey"], outputs["SecretKey"], None)).get_caller_identity, "InvalidClientTokenId")


def test_a_change_set_of_outputs_is_executed(data):
    """Where nothing but outputs differs, a change set has no changes and can be executed; one that says the same cannot."""
    with Endpoint() as e:
        cfn = e.client("cloudformation")
        template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}}}}
        e.deploy("s", template)
        template["Outputs"] = {"Said": {"Value": "anew"}}
        for status, execution in [("CREATE_COMPLETE", "AVAILABLE"), ("FAILED", "UNAVAILABLE")]:
            cfn.create_change_set(StackName="s", ChangeSetName=f"to-{execution}", TemplateBody=json.dumps(template))
            made = cfn.describe_change_set(StackName="s", ChangeSetName=f"to-{execution}")
            assert (made["Status"], made["ExecutionStatus"], made["Changes"]) == (status, execution, []), made
            if execution == "AVAILABLE":
                cfn.execute_change_set(StackName="s", ChangeSetName=made["ChangeSetName"])
                stack = e.settled("s")
                assert stack["StackStatus"] == "UPDATE_COMPLETE" and stack["Outputs"][0]["OutputValue"] == "anew", stack
                assert stack["ChangeSetId"] == made["ChangeSetId"], stack


def test_an_alarm_on_an_expression_is_made(data):
    """One with `Metrics`, on the first metric of them."""
    with Endpoint() as e:
        counted = {"Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible",
                   "Dimensions": [{"Name": "QueueName", "Value": "q"}]}
        alarm = {"AlarmName": "a", "ComparisonOperator": "GreaterThanThreshold", "Threshold": 0, "EvaluationPeriods": 15,
                 "Metrics": [{"Id": "visible", "MetricStat": {"Metric": counted, "Period": 60, "Stat": "Minimum"}, "ReturnData": False},
                             {"Id": "waiting", "Expression": "visible + 0", "ReturnData": True}]}
        stack = e.deploy("s", {"Resources": {"A": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}})
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        (made,) = e.client("cloudwatch").describe_alarms(AlarmNames=["a"])["MetricAlarms"]
        assert (made["MetricName"], made["Statistic"], made["EvaluationPeriods"]) == (counted["MetricName"], "Minimum", 15), made


def test_refusals(data):
    """Taken names, bad names, an alias to nothing, and a bucket that is not empty."""
    with Endpoint() as e:
        deployed(e, "orga")

        def fails(resources, words):
            stack = e.deploy(f"s{len(words)}{words[:3].strip()}", {"Resources": resources}, OnFailure="DO_NOTHING")
            assert stack["StackStatus"] == "CREATE_FAILED", stack
            events = e.client("cloudformation").describe_stack_events(StackName=stack["StackName"])["StackEvents"]
            assert any(words in v.get("ResourceStatusReason", "") for v in events), [v.get("ResourceStatusReason") for v in events]

        r = organization("orga")["Resources"]
        r["Role"]["Properties"].pop("Policies")
        fails({"Role": r["Role"]}, "Role with name orga-worker already exists")
        fails({"User": r["User"]}, "User with name orga-device already exists")
        fails({"Secret": r["Secret"]}, "secret orga/share already exists")
        fails({"Alias": {"Type": "AWS::KMS::Alias", "Properties": {
            "AliasName": "alias/x", "TargetKeyId": "00000000-0000-0000-0000-000000000000"}}}, "does not exist")
        fails({"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "Not_Valid"}}}, "not valid")
        e.client("s3").put_object(Bucket="ll-orga", Key="x", Body=b"x")
        e.client("cloudformation").delete_stack(StackName="orga")
        assert e.settled("orga")["StackStatus"] == "DELETE_FAILED"
        assert e.client("s3").get_object(Bucket="ll-orga", Key="x")["Body"].read() == b"x"


def test_sigkill_keeps_what_was_acknowledged(data):
    """Stacks, objects, messages, secrets and sessions after SIGKILL, at once and on another port."""
    with Endpoint(data) as e:
        outputs = deployed(e, "orga")
        e.kill_and_restart()
        check_organization(e, "orga", outputs)
        s3, sqs = e.client("s3"), e.client("sqs")
        drain(sqs, outputs["Queue"])
        first = s3.put_object(Bucket="ll-orga", Key="in/a ü.bin", Body=b"one", ChecksumAlgorithm="SHA256", Metadata={"k": "v"}, Tagging="t=1")
        second = s3.put_object(Bucket="ll-orga", Key="in/a ü.bin", Body=b"two", ChecksumAlgorithm="SHA256", Metadata={"k": "w"})
        session = e.assume(outputs["Role"])
        fifo = sqs.create_queue(QueueName="f.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        sent = sqs.send_message(QueueUrl=fifo, MessageBody="m1", MessageGroupId="g", MessageDeduplicationId="d1")
        sqs.send_message(QueueUrl=fifo, MessageBody="m2", MessageGroupId="g", MessageDeduplicationId="d2",
                         MessageAttributes={"b": {"DataType": "Binary", "BinaryValue": b"\0\1"}})
        e.kill_and_restart(free_port())

        s3, sqs = e.client("s3"), e.client("sqs")
        check_organization(e, "orga", outputs)
        head = s3.head_object(Bucket="ll-orga", Key="in/a ü.bin", ChecksumMode="ENABLED")
        assert head["VersionId"] == second["VersionId"] and head["Metadata"] == {"k": "w"} and head["ETag"] == second["ETag"], head
        assert head["ChecksumSHA256"] == sha256(b"two"), head
        assert head["ObjectLockMode"] == "GOVERNANCE", head
        old = s3.get_object(Bucket="ll-orga", Key="in/a ü.bin", VersionId=first["VersionId"], ChecksumMode="ENABLED")
        assert old["Body"].read() == b"one" and old["ChecksumSHA256"] == sha256(b"one") and old["Metadata"] == {"k": "v"}
        assert old["ObjectLockMode"] == "GOVERNANCE", old
        events = [json.loads(b) for b in drain(sqs, sqs.get_queue_url(QueueName="orga-events")["QueueUrl"])]
        assert len([v for v in events if "Records" in v]) == 2, events
        assert e.client("s3", session).get_object(Bucket="ll-orga", Key="in/a ü.bin")["Body"].read() == b"two"
        fifo = sqs.get_queue_url(QueueName="f.fifo")["QueueUrl"]
        again = sqs.send_message(QueueUrl=fifo, MessageBody="m1", MessageGroupId="g", MessageDeduplicationId="d1")
        assert again["MessageId"] == sent["MessageId"] and again["SequenceNumber"] == sent["SequenceNumber"], (again, sent)
        third = sqs.send_message(QueueUrl=fifo, MessageBody="m3", MessageGroupId="g", MessageDeduplicationId="d3")
        assert third["SequenceNumber"] > sent["SequenceNumber"]
        assert drain(sqs, fifo) == ["m1", "m2", "m3"]
        e.kill_and_restart()
        assert drain(e.client("sqs"), e.client("sqs").get_queue_url(QueueName="f.fifo")["QueueUrl"]) == []


def test_sigkill_under_load(data):
    """Five kills in the middle of sends, deletions and puts: what was acknowledged is there, what was deleted is not."""
    with Endpoint(data) as e:
        url = e.client("sqs").create_queue(QueueName="q", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
        e.client("s3").create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})
        sent, deleted, put = set(), set(), {}
        for round_ in range(5):
            stop = threading.Event()

            def work(worker):
                sqs, s3, n = e.client("sqs"), e.client("s3"), 0
                with contextlib.suppress(BotoCoreError, ClientError):
                    while not stop.is_set():
                        n += 1
                        name = f"{round_}-{worker}-{n}"
                        if worker < 4:
                            names = [f"{name}-{i}" for i in range(10)]
                            r = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": b} for i, b in enumerate(names)])
                            assert len(r["Successful"]) == 10
                            sent.update(names)
                        elif worker < 6:
                            for m in sqs.receive_message(QueueUrl=url).get("Messages", []):
                                sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
                                deleted.add(m["Body"])
                        else:
                            put[name] = s3.put_object(Bucket="bkt", Key=name, Body=name.encode() * 100, IfNoneMatch="*", Metadata={"n": name})["ETag"]

            threads = [threading.Thread(target=work, args=(w,)) for w in range(10)]
            for t in threads:
                t.start()
            time.sleep(1.0 + 0.137 * round_)
            e.stop(signal.SIGKILL)
            stop.set()
            for t in threads:
                t.join()
            e.start()
        s3 = e.client("s3")
        for name, etag in put.items():
            got = s3.get_object(Bucket="bkt", Key=name)
            assert got["ETag"] == etag and got["Body"].read() == name.encode() * 100 and got["Metadata"] == {"n": name}, name
        for key in (o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bkt") for o in page.get("Contents", [])):
            assert s3.head_object(Bucket="bkt", Key=key)["Metadata"] == {"n": key}, f"half an object: {key}"
        # Messages that a killed client had received are hidden for long: the journal is asked, and not the queue.
        e.stop(signal.SIGTERM)
        import sqlite3
        with contextlib.closing(sqlite3.connect(Path(data) / "state.sqlite")) as db:
            left = {json.loads(v)["body"] for (v,) in db.execute("SELECT value FROM entry WHERE store = 'sqs.message'")}
        e.start()
        missing, risen = sent - deleted - left, deleted & left
        # A deletion whose answer never came may have happened; one that was acknowledged must have.
        unknown = {b for b in missing}
        assert len(unknown) <= 2 * 5 and not risen, (len(sent), len(deleted), len(missing), len(risen))
        print(f"    {len(sent)} sent, {len(deleted)} deleted, {len(put)} put, {len(unknown)} deleted without an answer")


def test_sigkill_during_overwrites(data):
    """An object that is overwritten all the time has the metadata of its body after each kill."""
    with Endpoint(data) as e:
        e.client("s3").create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})

        def check(n):
            got = e.client("s3").get_object(Bucket="bkt", Key="k")
            body = got["Body"].read()
            assert got["Metadata"]["n"].encode() == body[:20].strip() and got["ETag"].strip('"') == hashlib.md5(body).hexdigest(), n

        for round_ in range(4):
            def work(worker):
                s3 = e.client("s3")
                with contextlib.suppress(BotoCoreError, ClientError):
                    for n in range(10**6):
                        name = f"{round_}-{worker}-{n}"
                        s3.put_object(Bucket="bkt", Key="k", Body=name.ljust(20).encode() * 5000, Metadata={"n": name})

            threads = [threading.Thread(target=work, args=(w,)) for w in range(4)]
            for t in threads:
                t.start()
            time.sleep(0.5 + 0.037 * round_)
            e.stop(signal.SIGKILL)
            for t in threads:
                t.join()
            e.start()
            check(round_)
        # The moment between the two files, made by hand: the new body is there, the new metadata only noted.
        e.stop(signal.SIGKILL)
        (path,) = [p for p in Path(data, "s3").rglob("k") if p.is_file()]
        meta = json.loads(Path(f"{path}.meta.json").read_text())
        body = b"new".ljust(20)
        path.write_bytes(body)
        meta.update(etag=f'"{hashlib.md5(body).hexdigest()}"', size=len(body), metadata={"x-amz-meta-n": "new"}, checksums={})
        Path(data, "overwrites", "note").write_text(json.dumps({"path": str(path), "body": hashlib.sha256(body).hexdigest(), "meta": meta}))
        e.start()
        check("by hand")


def test_answers_an_error_when_it_cannot_keep(data):
    """A journal that cannot be written refuses, and works again afterwards."""
    import sqlite3
    with Endpoint(data) as e:
        sqs = e.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        with contextlib.closing(sqlite3.connect(Path(data) / "state.sqlite", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            refused(sqs.send_message, "503", QueueUrl=url, MessageBody="m1")
            db.execute("ROLLBACK")
        sqs.send_message(QueueUrl=url, MessageBody="m2")
        e.kill_and_restart()
        assert "m2" in drain(e.client("sqs"), url)


def test_interrupted_stack(data):
    """A stack whose creation was cut off does not read as in progress, and can be deleted."""
    with Endpoint(data) as e:
        e.client("cloudformation").create_stack(
            StackName="orga", TemplateBody=json.dumps(organization("orga")), Capabilities=["CAPABILITY_NAMED_IAM"])
        e.kill_and_restart()
        status = e.settled("orga")["StackStatus"]
        assert status in ("CREATE_FAILED", "CREATE_COMPLETE"), status
        e.client("cloudformation").delete_stack(StackName="orga")
        assert e.settled("orga")["StackStatus"] in ("GONE", "DELETE_COMPLETE")
        print(f"    {status} after the kill")


def test_conditional_write_has_one_winner(data):
    with Endpoint(data) as e:
        s3 = e.client("s3")
        s3.create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})

        def attempt(n):
            try:
                s3.put_object(Bucket="bkt", Key=f"k{n % 10}", Body=str(n).encode(), IfNoneMatch="*")
                return 1
            except ClientError as fault:
                assert fault.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), fault
                return 0

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(attempt, range(160))) == 10


def test_a_copied_part_tells_its_checksum(data):
    """As S3 does, so that a copy can be compared with what it has to be, piece by piece."""
    with Endpoint(data) as e:
        s3 = e.client("s3")
        s3.create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})
        body = os.urandom(6 << 20)
        s3.put_object(Bucket="bkt", Key="from", Body=body)
        upload = s3.create_multipart_upload(Bucket="bkt", Key="to", ChecksumAlgorithm="SHA256")["UploadId"]
        to = {"Bucket": "bkt", "Key": "to", "UploadId": upload}
        ranges = [(0, (5 << 20) - 1), (5 << 20, len(body) - 1)]
        sums = [base64.b64encode(hashlib.sha256(body[a:b + 1]).digest()).decode() for a, b in ranges]
        parts = []
        for n, (a, b) in enumerate(ranges, 1):
            copied = s3.upload_part_copy(**to, PartNumber=n, CopySource="bkt/from", CopySourceRange=f"bytes={a}-{b}")
            result = copied["CopyPartResult"]
            assert result["ChecksumSHA256"] == sums[n - 1], result
            parts.append({"PartNumber": n, "ETag": result["ETag"], "ChecksumSHA256": sums[n - 1]})
        assert [p["ChecksumSHA256"] for p in s3.list_parts(**to)["Parts"]] == sums
        s3.complete_multipart_upload(**to, MultipartUpload={"Parts": parts})
        head = s3.head_object(Bucket="bkt", Key="to", ChecksumMode="ENABLED")
        of_sums = hashlib.sha256(b"".join(base64.b64decode(s) for s in sums)).digest()
        assert head["ChecksumSHA256"] == f"{base64.b64encode(of_sums).decode()}-2", head


def test_a_range_of_a_version_is_a_range(data):
    with Endpoint(data) as e:
        s3 = e.client("s3")
        s3.create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket="bkt", Key="k", Body=b"0123456789")
        s3.put_object(Bucket="bkt", Key="k", Body=b"another")
        of = {"Bucket": "bkt", "Key": "k", "VersionId": first["VersionId"], "IfMatch": first["ETag"]}
        got = s3.get_object(**of, Range="bytes=3-5")
        assert (got["Body"].read(), got["ContentLength"], got["ContentRange"]) == (b"345", 3, "bytes 3-5/10"), got
        assert s3.get_object(**of, Range="bytes=8-99")["Body"].read() == b"89"
        assert s3.get_object(**of)["Body"].read() == b"0123456789"
        refused(s3.get_object, "InvalidRange", **of, Range="bytes=10-")


def test_roles_reach_their_own_only(data):
    """An assumed role works on its own organization and is refused on another, in S3, SQS, KMS and Secrets Manager."""
    with Endpoint(data) as e:
        a, b = deployed(e, "orga"), deployed(e, "orgb")
        role = e.assume(a["Role"])
        denied = ("AccessDenied", "AccessDeniedException")
        s3, sqs, kms, secrets = (e.client(x, role) for x in ("s3", "sqs", "kms", "secretsmanager"))
        s3.put_object(Bucket="ll-orga", Key="x", Body=b"x")
        e.client("s3").put_object(Bucket="ll-orgb", Key="x", Body=b"x")
        refused(s3.put_object, *denied, Bucket="ll-orgb", Key="y", Body=b"x")
        refused(s3.get_object, *denied, Bucket="ll-orgb", Key="x")
        refused(s3.list_objects_v2, *denied, Bucket="ll-orgb")
        refused(s3.copy_object, *denied, Bucket="ll-orga", Key="stolen", CopySource="ll-orgb/x")
        refused(s3.delete_object, *denied, Bucket="ll-orga", Key="x")
        sqs.send_message(QueueUrl=a["Queue"], MessageBody="m")
        refused(sqs.send_message, *denied, QueueUrl=b["Queue"], MessageBody="m")
        several = [{"Id": str(n), "MessageBody": "m"} for n in range(3)]
        assert len(sqs.send_message_batch(QueueUrl=a["Queue"], Entries=several)["Successful"]) == 3
        refused(sqs.send_message_batch, *denied, QueueUrl=b["Queue"], Entries=several)
        refused(sqs.receive_message, *denied, QueueUrl=b["Queue"])
        sealed = kms.encrypt(KeyId=a["Key"], Plaintext=b"p")["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"p"
        refused(kms.encrypt, *denied, KeyId=b["Key"], Plaintext=b"p")
        refused(kms.decrypt, *denied, CiphertextBlob=e.client("kms").encrypt(KeyId=b["Key"], Plaintext=b"p")["CiphertextBlob"])
        assert secrets.get_secret_value(SecretId=a["Secret"])["SecretString"] == "secret of orga"
        refused(secrets.get_secret_value, *denied, SecretId=b["Secret"])
        refused(e.client("iam", role).list_users, *denied)
        wrong = (role[0], "x" * len(role[1]), role[2])
        refused(e.client("s3", wrong).get_object, "SignatureDoesNotMatch", Bucket="ll-orga", Key="x")
        # A session policy narrows; it survives the kill with its session.
        narrow = e.assume(a["Role"], Policy=json.dumps(allow({"Action": "s3:GetObject", "Resource": "*"})))
        e.kill_and_restart()
        s3 = e.client("s3", narrow)
        assert s3.get_object(Bucket="ll-orga", Key="x")["Body"].read() == b"x"
        refused(s3.put_object, *denied, Bucket="ll-orga", Key="y", Body=b"x")
        refused(s3.get_object, *denied, Bucket="ll-orgb", Key="x")


def test_reset_forgets(data):
    with Endpoint(data) as e:
        deployed(e, "orga")
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{e.port}/_ministack/reset", method="POST")).close()
        e.kill_and_restart()
        assert e.client("s3").list_buckets()["Buckets"] == []
        assert not e.client("sqs").list_queues().get("QueueUrls")


def test_refuses_to_start(data):
    """With another MiniStack, with a folder that is in use, without a choice of where state goes."""
    fake = "import importlib.metadata as m, runpy, sys; m.version = lambda n: '1.5.34'; sys.argv[1:] = ['--memory']; "
    fake += f"sys.path.insert(0, {str(LAUNCHER.parent)!r}); runpy.run_path({str(LAUNCHER)!r}, run_name='__main__')"
    r = subprocess.run([sys.executable, "-c", fake], capture_output=True, text=True)
    assert r.returncode == 1 and "made for ministack" in r.stderr, r
    with Endpoint(data):
        r = subprocess.run([sys.executable, LAUNCHER, "--port", str(free_port()), "--data", data], capture_output=True, text=True)
        assert r.returncode == 1 and "another one runs" in r.stderr, r
    r = subprocess.run([sys.executable, LAUNCHER], capture_output=True, text=True)
    assert r.returncode == 2 and "--memory" in r.stderr, r


def test_listens_on_loopback_only(data):
    with Endpoint() as e:
        tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
        lines = [line.split() for t in tables if t.exists() for line in t.read_text().splitlines()[1:]]
        listening = [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{e.port:04X}")]
        assert listening == [f"0100007F:{e.port:04X}"], listening


def measure(data):
    """Requests a second with and without a data folder."""
    for where in (None, data):
        with Endpoint(where) as e:
            sqs, s3 = e.client("sqs"), e.client("s3")
            url = sqs.create_queue(QueueName="q")["QueueUrl"]
            s3.create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": REGION})
            trust = allow({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"})
            for index in range(50):
                e.client("iam").create_role(RoleName=f"r{index}", AssumeRolePolicyDocument=json.dumps(trust))
            role = e.client("iam").get_role(RoleName="r0")["Role"]["Arn"]
            batch = [{"Id": str(i), "MessageBody": "x" * 600} for i in range(10)]

            def rate(what, count, call, per=1):
                with concurrent.futures.ThreadPoolExecutor(16) as pool:
                    start = time.monotonic()
                    list(pool.map(call, range(count)))
                    print(f"    {'in memory' if where is None else 'durable  '} {what}: {count * per / (time.monotonic() - start):.0f}/s")

            rate("SendMessage", 600, lambda n: sqs.send_message(QueueUrl=url, MessageBody="x" * 600))
            rate("SendMessageBatch, messages", 400, lambda n: sqs.send_message_batch(QueueUrl=url, Entries=batch), 10)
            rate("PutObject 50 KB", 400, lambda n: s3.put_object(Bucket="bkt", Key=f"k{n}", Body=b"x" * 50_000))
            sts = e.client("sts")
            rate("AssumeRole", 200, lambda n: sts.assume_role(RoleArn=role, RoleSessionName="measure"))
            if where:
                start = time.monotonic()
                for n in range(50):
                    sqs.send_message(QueueUrl=url, MessageBody="x")
                print(f"    durable   SendMessage one at a time, {4600} queued: {(time.monotonic() - start) * 20:.1f} ms")


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    tests = [t for n, t in globals().items() if n.startswith("test_") and (not wanted or any(w in n for w in wanted))]
    if "--measure" in sys.argv:
        tests.append(measure)
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory(prefix="leadline-aws-") as folder:
            start = time.monotonic()
            try:
                test(os.path.join(folder, "data"))
                outcome = "ok"
            except Exception:
                import traceback
                traceback.print_exc()
                outcome, failed = "FAILED", failed + 1
            print(f"{outcome:6} {test.__name__} {time.monotonic() - start:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
