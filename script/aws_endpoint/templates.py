"""What MiniStack's CloudFormation, S3, IAM and SQS leave out: properties of templates, and what AWS refuses."""

import re
import time
from xml.etree.ElementTree import Element, SubElement, tostring


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


def patch_alarms(P):
    """An alarm on an expression is taken as one on the first metric of it; MiniStack refuses `Metrics`."""
    inner = P._cw_metric_alarm_record

    def record(name, props):
        watched = next((m["MetricStat"] for m in props.get("Metrics") or [] if "MetricStat" in m), None)
        if watched:
            kept = {key: value for key, value in props.items() if key != "Metrics"}
            props = {**kept, **watched["Metric"], "Period": watched["Period"], "Statistic": watched["Stat"]}
        return inner(name, props)

    P._cw_metric_alarm_record = record


def patch_change_sets(handlers, changesets):
    """A change set of a stack whose outputs differ, and nothing else, can be executed; MiniStack says that it is empty.
    And a stack tells which change set it executed last, which MiniStack leaves out."""
    inner, execute_set, describe = changesets._create_change_set, changesets._execute_change_set, handlers._describe_stacks

    def create(params):
        from ministack.services.cloudformation import _stacks

        answer = inner(params)
        _, made = changesets._find_change_set(changesets._p(params, "ChangeSetName"), changesets._p(params, "StackName"))
        if made and made["ChangeSetType"] == "UPDATE" and "didn't contain changes" in made["StatusReason"]:
            there = _stacks.get(made["StackName"]) or {}
            if made["_template"].get("Outputs") != there.get("_template", {}).get("Outputs"):
                made.update(Status="CREATE_COMPLETE", ExecutionStatus="AVAILABLE", StatusReason="")
        return answer

    def execute(params):
        from ministack.services.cloudformation import _stacks

        _, made = changesets._find_change_set(changesets._p(params, "ChangeSetName"), changesets._p(params, "StackName"))
        answer = execute_set(params)
        stack = _stacks.get(made["StackName"]) if made and answer[0] == 200 else None
        if stack is not None:
            stack["ChangeSetId"] = made["ChangeSetId"]
        return answer

    def stacks(params):
        from ministack.services.cloudformation import _stacks

        status, headers, body = describe(params)
        for stack in list(_stacks.values()):
            if "ChangeSetId" in stack:
                # Ids are ARNs: nothing in them has to be escaped.
                told = f"<StackId>{stack['StackId']}</StackId>".encode()
                body = body.replace(told, told + f"<ChangeSetId>{stack['ChangeSetId']}</ChangeSetId>".encode())
        return status, headers, body

    changesets._create_change_set, changesets._execute_change_set, handlers._describe_stacks = create, execute, stacks
    handlers._ACTION_HANDLERS.update(CreateChangeSet=create, ExecuteChangeSet=execute, DescribeStacks=stacks)


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
