//! Our own rules for templates. They look at the template as it is sent, with its references resolved, and not at how it
//! was made, so that a mistake in the code that makes it is found as well.

mod resolve;

use crate::config::Jurisdictions;
use crate::template::CACHING_DISABLED;
use resolve::Resolver;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Buckets, queues and secrets are encrypted; keys rotate.
    Encryption,
    /// No bucket is public.
    PublicAccess,
    /// Nobody but a named principal is allowed anything.
    Principal,
    /// Only named actions are allowed.
    Action,
    /// Only named resources are allowed (in a key's own policy `*` is that key). A wildcard may stand behind a name.
    Resource,
    /// Requests without TLS are refused.
    Tls,
    /// What holds data stays when a stack lets go of it.
    Retention,
    /// ARNs and services are of the environment's own region and account.
    Region,
    /// The organization's jurisdiction allows the region.
    Residency,
    /// Every resource that can carries its tags.
    Tags,
    /// No secret has a value.
    Secret,
    /// An organization's role is allowed nothing but what is the organization's, and is taken by its name only.
    Isolation,
    /// What is referred to is there.
    Reference,
    /// CloudFront gives nothing without a signature, keeps nothing, and says what browsers must not do.
    Delivery,
    /// The template fits into a request.
    Size,
}

/// A rule that a template breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// The resource; empty for the template as a whole.
    pub logical_id: String,
    /// The rule.
    pub rule: Rule,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = serde_json::to_value(self.rule).unwrap_or_default();
        if !self.logical_id.is_empty() {
            write!(f, "{}: ", self.logical_id)?;
        }
        write!(f, "{}: {}", rule.as_str().unwrap_or_default(), self.message)
    }
}

/// What a template is held to.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Account it is for.
    pub account: &'a str,
    /// Region it is for.
    pub region: &'a str,
    /// Whether there is TLS (see [`crate::config::Environment::tls_only`]).
    pub tls_only: bool,
    /// Tags every resource must carry.
    pub tags: &'a std::collections::BTreeMap<String, String>,
    /// The jurisdictions whose data is there and what each allows; `None` where residency does not bind.
    pub residency: Option<(Vec<&'a str>, &'a Jurisdictions)>,
    /// Principals of other accounts that the environment names.
    pub foreign: &'a std::collections::BTreeSet<String>,
}

/// Types whose loss is a loss of data or of access to data.
pub const STATEFUL: &[&str] =
    &["AWS::KMS::Key", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SQS::Queue", "AWS::SecretsManager::Secret"];

/// Types that take no tags.
const UNTAGGED: &[&str] = &[
    "AWS::CloudFront::KeyGroup",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::PublicKey",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::IAM::Policy",
    "AWS::KMS::Alias",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

/// What AWS lets stand for any text, and for any character.
const WILDCARDS: [char; 2] = ['*', '?'];

/// The kinds of principals.
const PRINCIPALS: &[&str] = &["AWS", "CanonicalUser", "Federated", "Service"];

/// Every violation of a template.
#[must_use]
pub fn check(template: &Value, context: &Context<'_>) -> Vec<Violation> {
    let mut check = Check { context, found: Vec::new(), id: String::new() };
    let size = crate::template::sent(template).len();
    if size > crate::template::MAX_BYTES {
        check.add(Rule::Size, format!("{size} bytes; CloudFormation takes {}", crate::template::MAX_BYTES));
    }
    if let Some((jurisdictions, table)) = &context.residency {
        for jurisdiction in jurisdictions.iter().filter(|j| !table.allows(j, context.region)) {
            check.add(Rule::Residency, format!("jurisdiction {jurisdiction} does not allow region {}", context.region));
        }
    }
    let empty = serde_json::Map::new();
    let resources = template["Resources"].as_object().unwrap_or(&empty);
    let mut resolver = Resolver::new(resources, context.account, context.region);
    let mut resolved = serde_json::Map::new();
    for (id, r) in resources {
        check.id.clone_from(id);
        let (r, missing) = resolver.resolve(r);
        for m in missing {
            check.add(Rule::Reference, format!("{m} is not there"));
        }
        resolved.insert(id.clone(), r);
    }
    let own = Own::of(&resolved, context);
    for (id, r) in &resolved {
        check.id.clone_from(id);
        check.resource(r);
        if let Some(own) = &own {
            check.isolation(r, own);
        }
    }
    if context.tls_only {
        for (kind, policy, of) in [
            ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
            ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
            ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
        ] {
            for (id, _) in resolved.iter().filter(|(_, r)| r["Type"] == kind) {
                let name = resolver.physical(id);
                let covered = resolved
                    .values()
                    .filter(|r| r["Type"] == policy && texts(&r["Properties"][of]).any(|t| t == name))
                    .any(|r| statements(&r["Properties"]["PolicyDocument"]).any(denies_plain_text));
                if !covered {
                    check.id.clone_from(id);
                    check.add(Rule::Tls, "requests without TLS are not refused");
                }
            }
        }
    }
    check.found.sort();
    check.found
}

/// What is an organization's own, as ARNs; by its tags a template is one of an organization.
struct Own {
    exactly: Vec<String>,
    below: Vec<String>,
    external_id: String,
}

impl Own {
    fn of(resources: &serde_json::Map<String, Value>, context: &Context<'_>) -> Option<Self> {
        let (env, org) = (context.tags.get("leadline:env")?, context.tags.get("leadline:org")?);
        let (account, region) = (context.account, context.region);
        let mut exactly = Vec::new();
        let mut below = vec![format!("arn:aws:secretsmanager:{region}:{account}:secret:leadline/{env}/{org}/")];
        for (id, r) in resources {
            match r["Type"].as_str() {
                Some("AWS::S3::Bucket") => {
                    let arn = format!("arn:aws:s3:::{}", r["Properties"]["BucketName"].as_str().unwrap_or(id));
                    below.push(format!("{arn}/"));
                    exactly.push(arn);
                }
                Some("AWS::KMS::Key") => exactly.push(format!("arn:aws:kms:{region}:{account}:key/{id}")),
                _ => {}
            }
        }
        Some(Self { exactly, below, external_id: format!("leadline:{env}:{org}") })
    }

    fn holds(&self, arn: &str) -> bool {
        self.exactly.iter().any(|a| a == arn) || self.below.iter().any(|b| arn.starts_with(b.as_str()))
    }
}

struct Check<'a> {
    context: &'a Context<'a>,
    found: Vec<Violation>,
    id: String,
}

impl Check<'_> {
    fn add(&mut self, rule: Rule, message: impl Into<String>) {
        self.found.push(Violation { logical_id: self.id.clone(), rule, message: message.into() });
    }

    fn resource(&mut self, r: &Value) {
        let kind = r["Type"].as_str().unwrap_or_default();
        let p = &r["Properties"];
        if STATEFUL.contains(&kind) {
            if !kept(&r["DeletionPolicy"]) {
                self.add(Rule::Retention, "DeletionPolicy is not to retain it");
            }
            if r["UpdateReplacePolicy"] != "Retain" {
                self.add(Rule::Retention, "UpdateReplacePolicy is not Retain");
            }
        }
        if !UNTAGGED.contains(&kind) {
            for (k, v) in self.context.tags {
                // A list of pairs, or a table (AWS::SSM::Parameter).
                let listed = p["Tags"].as_array().into_iter().flatten().any(|t| t["Key"] == **k && t["Value"] == **v);
                if !listed && p["Tags"].get(k).is_none_or(|t| t != v) {
                    self.add(Rule::Tags, format!("tag {k} = {v} is missing"));
                }
            }
        }
        match kind {
            "AWS::S3::Bucket" => self.bucket(p),
            "AWS::SQS::Queue" if p["SqsManagedSseEnabled"] != true && p["KmsMasterKeyId"].is_null() => {
                self.add(Rule::Encryption, "the queue is not encrypted");
            }
            "AWS::KMS::Key" if p["EnableKeyRotation"] != true => self.add(Rule::Encryption, "the key does not rotate"),
            "AWS::SecretsManager::Secret" => {
                if p["KmsKeyId"].is_null() {
                    self.add(Rule::Encryption, "the secret is encrypted with a key that the account shares");
                }
                if !p["SecretString"].is_null() {
                    self.add(Rule::Secret, "the secret has its value in the template");
                }
            }
            "AWS::CloudFront::Distribution" => self.distribution(&p["DistributionConfig"]),
            "AWS::CloudFront::ResponseHeadersPolicy" => self.headers(&p["ResponseHeadersPolicyConfig"]),
            "AWS::IAM::Role" if !p["ManagedPolicyArns"].is_null() => {
                self.add(Rule::Action, "managed policies allow what the template does not say");
            }
            _ => {}
        }
        let inline = p["Policies"].as_array().into_iter().flatten().map(|i| &i["PolicyDocument"]);
        for document in
            ["PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument"].map(|d| &p[d]).into_iter().chain(inline)
        {
            for s in statements(document) {
                self.statement(s, std::ptr::eq(document, &raw const p["KeyPolicy"]));
            }
        }
        self.arns(p);
    }

    /// For the template of an organization: invariant L6, before anything is made.
    fn isolation(&mut self, r: &Value, own: &Own) {
        let p = &r["Properties"];
        if r["Type"] == "AWS::IAM::Role" {
            for s in statements(&p["AssumeRolePolicyDocument"]).filter(|s| s["Effect"] != "Deny") {
                if s["Condition"]["StringEquals"]["sts:ExternalId"] != own.external_id.as_str() {
                    self.add(Rule::Isolation, format!("the role is taken without the external id {}", own.external_id));
                }
            }
        }
        let inline = p["Policies"].as_array().into_iter().flatten().map(|i| &i["PolicyDocument"]);
        let attached = (r["Type"] == "AWS::IAM::Policy").then_some(&p["PolicyDocument"]);
        for s in inline.chain(attached).flat_map(statements).filter(|s| s["Effect"] != "Deny") {
            // `*` is reported already.
            for arn in texts(&s["Resource"]).filter(|a| *a != "*" && !own.holds(a)) {
                self.add(Rule::Isolation, format!("{arn} is not the organization's own"));
            }
        }
    }

    fn distribution(&mut self, c: &Value) {
        let mut behaviours = vec![&c["DefaultCacheBehavior"]];
        behaviours.extend(c["CacheBehaviors"].as_array().into_iter().flatten());
        for b in behaviours {
            if !matches!(b["ViewerProtocolPolicy"].as_str(), Some("https-only" | "redirect-to-https")) {
                self.add(Rule::Tls, "viewers may come without TLS");
            }
            if b["TrustedKeyGroups"].as_array().is_none_or(Vec::is_empty) {
                self.add(Rule::Delivery, "URLs need no signature");
            }
            if b["CachePolicyId"] != CACHING_DISABLED {
                self.add(Rule::Delivery, "edges keep copies, wherever they are");
            }
            if b["ResponseHeadersPolicyId"].is_null() {
                self.add(Rule::Delivery, "answers have no security headers");
            }
        }
        for o in c["Origins"].as_array().into_iter().flatten().filter(|o| o["OriginAccessControlId"].is_null()) {
            let id = o["Id"].as_str().unwrap_or_default();
            self.add(Rule::Delivery, format!("origin {id} is read without an identity"));
        }
        if c["Restrictions"]["GeoRestriction"]["RestrictionType"] != "whitelist" {
            self.add(Rule::Delivery, "every country may fetch");
        }
    }

    fn headers(&mut self, c: &Value) {
        for h in
            ["StrictTransportSecurity", "ContentTypeOptions", "FrameOptions", "ReferrerPolicy", "ContentSecurityPolicy"]
        {
            if c["SecurityHeadersConfig"][h].is_null() {
                self.add(Rule::Delivery, format!("{h} is not set"));
            }
        }
    }

    fn bucket(&mut self, p: &Value) {
        let rules = p["BucketEncryption"]["ServerSideEncryptionConfiguration"].as_array();
        let by_key = rules.into_iter().flatten().any(|r| {
            let d = &r["ServerSideEncryptionByDefault"];
            d["SSEAlgorithm"] == "aws:kms" && !d["KMSMasterKeyID"].is_null()
        });
        if !by_key {
            self.add(Rule::Encryption, "the bucket is not encrypted with a key of its own");
        }
        if p["VersioningConfiguration"]["Status"] != "Enabled" {
            self.add(Rule::Retention, "the bucket keeps no versions");
        }
        for key in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            if p["PublicAccessBlockConfiguration"][key] != true {
                self.add(Rule::PublicAccess, format!("{key} is not set"));
            }
        }
    }

    /// A denial may be as wide as it likes.
    fn statement(&mut self, s: &Value, of_key: bool) {
        if s["Effect"] == "Deny" {
            return;
        }
        let sid = s["Sid"].as_str().unwrap_or("a statement without Sid");
        for word in ["NotPrincipal", "NotAction", "NotResource"] {
            if !s[word].is_null() {
                self.add(Rule::Action, format!("{sid} allows by {word}: everything that is not named"));
            }
        }
        for a in texts(&s["Action"]).filter(|a| a.contains(WILDCARDS)) {
            self.add(Rule::Action, format!("{sid} allows {a}"));
        }
        if !told(&s["Action"]) {
            self.add(Rule::Action, format!("{sid} allows what cannot be told from the template"));
        }
        if !of_key {
            for r in texts(&s["Resource"]).filter(|r| !names_a_resource(r)) {
                self.add(Rule::Resource, format!("{sid} allows it on {r}, whatever is called so"));
            }
            if !told(&s["Resource"]) {
                self.add(Rule::Resource, format!("{sid} allows it on what cannot be told from the template"));
            }
        }
        let principals: Vec<&Value> = match &s["Principal"] {
            Value::Object(kinds) => {
                if kinds.keys().any(|k| !PRINCIPALS.contains(&k.as_str())) {
                    self.add(Rule::Principal, format!("{sid} allows whom the template does not tell"));
                }
                kinds.values().collect()
            }
            other => vec![other],
        };
        if principals.iter().copied().flat_map(texts).any(|p| p.contains(WILDCARDS)) {
            self.add(Rule::Principal, format!("{sid} allows everyone"));
        }
        if !principals.into_iter().all(told) {
            self.add(Rule::Principal, format!("{sid} allows who cannot be told from the template"));
        }
    }

    /// Literal ARNs anywhere in the properties.
    fn arns(&mut self, v: &Value) {
        match v {
            Value::String(s) if s.starts_with("arn:") => {
                let mut parts = s.split(':').skip(3);
                let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                // CloudFront takes certificates of us-east-1 only; a certificate holds nothing of anybody's.
                let certificate = s.starts_with("arn:aws:acm:us-east-1:");
                if !region.is_empty() && region != self.context.region && !certificate {
                    self.add(Rule::Region, format!("{s} is of another region"));
                }
                if !account.is_empty() && account != self.context.account && !self.context.foreign.contains(s) {
                    self.add(Rule::Region, format!("{s} is of another account"));
                }
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::Array(a) => a.iter().for_each(|v| self.arns(v)),
            Value::Object(o) => o.values().for_each(|v| self.arns(v)),
        }
    }
}

/// Whether a resource of this DeletionPolicy stays when its stack lets go of it.
pub(crate) fn kept(deletion_policy: &Value) -> bool {
    matches!(deletion_policy.as_str(), Some("Retain" | "RetainExceptOnCreate"))
}

/// A single one needs no list around it.
fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    listed(&document["Statement"]).iter().filter(|s| !s.is_null())
}

fn listed(v: &Value) -> &[Value] {
    v.as_array().map_or(std::slice::from_ref(v), Vec::as_slice)
}

fn texts(v: &Value) -> impl Iterator<Item = &str> {
    listed(v).iter().filter_map(Value::as_str)
}

/// Whether a value is all text, or is not there. What is made of other functions than those that are resolved is not.
fn told(v: &Value) -> bool {
    v.is_null() || v.is_string() || v.as_array().is_some_and(|a| a.iter().all(Value::is_string))
}

/// Whether the name of a resource has begun before the first wildcard, so that the wildcard stands for what is behind
/// it and not for the resource, its account or its region.
fn names_a_resource(arn: &str) -> bool {
    let Some(wildcard) = arn.find(WILDCARDS) else { return true };
    let parts: Vec<&str> = arn[..wildcard].splitn(6, ':').collect();
    let [_, _, service, _, account, name] = parts[..] else { return false };
    // Buckets, queues and topics have nothing in front of their names; everywhere else their kind is.
    let bare = matches!(service, "sqs" | "sns") || (service == "s3" && account.is_empty());
    let name = if bare { name } else { name.split_once(['/', ':']).map_or("", |(_, name)| name) };
    !name.trim_start_matches('/').is_empty()
}

fn denies_plain_text(s: &Value) -> bool {
    s["Effect"] == "Deny" && s["Principal"] == "*" && s["Condition"]["Bool"]["aws:SecureTransport"] == "false"
}

#[cfg(test)]
mod tests {
    use super::names_a_resource;

    #[test]
    fn a_wildcard_stands_behind_a_name() {
        for named in [
            "arn:aws:s3:::b",
            "arn:aws:s3:::b/*",
            "arn:aws:sqs:us-east-1:222222222222:leadline-*",
            "arn:aws:iam::222222222222:role/leadline-us-org-*",
            "arn:aws:secretsmanager:us-east-1:222222222222:secret:leadline/us/st-mary/share/*",
        ] {
            assert!(names_a_resource(named), "{named}");
        }
        for all in [
            "*",
            "arn:*",
            "arn:aws:s3:::*",
            "arn:aws:s3:::?*",
            "arn:aws:s3:::*/recordings/a",
            "arn:aws:s3:*:*:b",
            "arn:aws:s3:us-east-1:222222222222:accesspoint/*",
            "arn:aws:sqs:us-east-1:222222222222:*",
            "arn:aws:sqs:us-east-1:*:q",
            "arn:aws:iam::222222222222:role/*",
            "arn:aws:iam::222222222222:r*",
            "arn:aws:secretsmanager:us-east-1:222222222222:secret:*",
            "arn:aws:ssm:us-east-1:222222222222:parameter//*",
            "Gone/*",
        ] {
            assert!(!names_a_resource(all), "{all}");
        }
    }
}
