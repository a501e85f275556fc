//! Delivery through CloudFront: a bucket that only CloudFront reads, by signed URLs only, kept nowhere on the way.

use super::Builder;
use super::bucket::{DATA, abandoned_uploads};
use super::iam::{Policy, Principal, Statement, tls_only};
use super::keys::whole_account;
use super::resources::{
    Alias, Bucket, BucketPolicy, Distribution, Key, KeyGroup, OriginAccessControl, PublicKey, ResponseHeadersPolicy,
};
use super::value::{Text, short_digest, tag_list};
use crate::config::{Cdn, Environment};
use leadline_domain::EnvScope;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// AWS's own policy `CachingDisabled`: edges keep nothing, so bytes rest in the bucket only.
pub const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const YEAR_S: u32 = 31_536_000;

pub(crate) fn add(t: &mut Builder, env: &Environment, cdn: &Cdn, tags: &BTreeMap<String, String>) {
    let scope = env.scope();
    storage(t, env, &scope, cdn, tags);
    let group = signers(t, env, cdn);
    let headers = headers(t, env);
    let name = format!("leadline-{}", env.id);
    let access = json!({
        "Name": name,
        "Description": format!("Delivery of leadline environment {}", env.id),
        "OriginAccessControlOriginType": "s3",
        "SigningBehavior": "always",
        "SigningProtocol": "sigv4",
    });
    t.add("DeliveryAccess", &OriginAccessControl { origin_access_control_config: access }, &[]);
    let certificate = match (&cdn.domain, &cdn.certificate) {
        (Some(_), Some(arn)) => json!({
            "AcmCertificateArn": arn,
            "SslSupportMethod": "sni-only",
            "MinimumProtocolVersion": "TLSv1.2_2021",
        }),
        _ => json!({ "CloudFrontDefaultCertificate": true }),
    };
    let config = json!({
        "Enabled": true,
        "Comment": format!("leadline environment {}", env.id),
        "Aliases": cdn.domain.iter().collect::<Vec<_>>(),
        "HttpVersion": "http2and3",
        "IPV6Enabled": true,
        // North America, Europe, Israel: enough for every jurisdiction there is so far, and the fewest places.
        "PriceClass": "PriceClass_100",
        "Origins": [{
            "Id": "delivery",
            // A literal name: the bucket's key names the distribution.
            "DomainName": format!("{}.s3.{}.amazonaws.com", scope.delivery_bucket(), scope.region()),
            "OriginAccessControlId": Text::att("DeliveryAccess", "Id"),
            "S3OriginConfig": { "OriginAccessIdentity": "" },
        }],
        "DefaultCacheBehavior": {
            "TargetOriginId": "delivery",
            "ViewerProtocolPolicy": "https-only",
            "AllowedMethods": ["GET", "HEAD"],
            "CachePolicyId": CACHING_DISABLED,
            "ResponseHeadersPolicyId": headers,
            "TrustedKeyGroups": [group],
            "Compress": false,
        },
        "Restrictions": { "GeoRestriction": { "RestrictionType": "whitelist", "Locations": cdn.countries } },
        "ViewerCertificate": certificate,
    });
    t.add("Delivery", &Distribution { distribution_config: config, tags: tag_list(tags) }, &[]);
    t.output("DeliveryBucketName", "What CloudFront delivers", Text::reference("DeliveryBucket"));
    t.output("DeliveryDomain", "Host of signed URLs", Text::att("Delivery", "DomainName"));
    t.output("DeliveryKeyGroup", "Keys whose signatures it takes", Text::reference("DeliveryKeyGroup"));
}

/// The bucket and its key.
fn storage(t: &mut Builder, env: &Environment, scope: &EnvScope, cdn: &Cdn, tags: &BTreeMap<String, String>) {
    let cloudfront = || Principal::Service(vec!["cloudfront.amazonaws.com".into()]);
    let distribution = || json!(Text::sub(format!("arn:aws:cloudfront::{}:distribution/${{Delivery}}", env.account)));
    let sessions = format!("arn:aws:sts::{}:assumed-role/{}/*", scope.account(), scope.worker_role_name());
    let worker = vec![scope.worker_role_arn(), sessions];
    let uses = [
        Statement::allow("CloudFront", &["kms:Decrypt"]).to(cloudfront()).on(["*".into()]).when(
            "StringEquals",
            "aws:SourceArn",
            distribution(),
        ),
        Statement::allow("Workers", &["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"])
            .to(whole_account(&env.account))
            .on(["*".into()])
            .when("StringEquals", "kms:ViaService", format!("s3.{}.amazonaws.com", scope.region()))
            .when("ArnLike", "aws:PrincipalArn", worker.clone()),
    ];
    let description = format!("Delivery of leadline environment {}", env.id);
    t.add("DeliveryKey", &Key::managed(description, &env.account, uses, tags), &[]);
    let alias = Alias { alias_name: scope.delivery_key_alias(), target_key_id: Text::reference("DeliveryKey") };
    t.add("DeliveryKeyAlias", &alias, &[]);
    let lifecycle = json!({ "Rules": [
        // Copies for fetching; the originals are in the organizations' buckets.
        {
            "Id": "fetched-or-not",
            "Status": "Enabled",
            "Prefix": "",
            "ExpirationInDays": cdn.keep_days,
            "NoncurrentVersionExpiration": { "NoncurrentDays": 1 },
        },
        { "Id": "markers", "Status": "Enabled", "Prefix": "", "ExpiredObjectDeleteMarker": true },
        abandoned_uploads(),
    ] });
    let bucket =
        Bucket { lifecycle_configuration: lifecycle, ..Bucket::private(scope.delivery_bucket(), "DeliveryKey", tags) };
    t.add("DeliveryBucket", &bucket, &[]);
    let (bucket, objects) = (Text::att("DeliveryBucket", "Arn"), Text::sub("${DeliveryBucket.Arn}/*"));
    let mut statements = vec![
        Statement::allow("CloudFront", &["s3:GetObject"]).to(cloudfront()).on([objects.clone()]).when(
            "StringEquals",
            "aws:SourceArn",
            distribution(),
        ),
        Statement::deny("WorkersAndCloudFrontOnly", DATA)
            .on([bucket.clone(), objects.clone()])
            .when("ArnNotLike", "aws:PrincipalArn", worker)
            .when("Bool", "aws:PrincipalIsAWSService", "false"),
    ];
    statements.extend(tls_only(env, "s3:*", [bucket, objects]));
    let policy = BucketPolicy { bucket: Text::reference("DeliveryBucket"), policy_document: Policy::new(statements) };
    t.add("DeliveryBucketPolicy", &policy, &[]);
}

/// The keys whose signatures are accepted. A key cannot be changed once it exists, so another key is another resource,
/// named after its content.
fn signers(t: &mut Builder, env: &Environment, cdn: &Cdn) -> Text {
    let mut items = Vec::new();
    for pem in &cdn.signing_keys {
        let digest = short_digest(pem.trim());
        let id = format!("DeliverySigner{digest}");
        let name = format!("leadline-{}-{digest}", env.id);
        let config = json!({ "Name": name, "CallerReference": name, "EncodedKey": format!("{}\n", pem.trim()) });
        items.push(Text::reference(&id));
        t.add(&id, &PublicKey { public_key_config: config }, &[]);
    }
    let config = json!({ "Name": format!("leadline-{}", env.id), "Items": items });
    t.add("DeliveryKeyGroup", &KeyGroup { key_group_config: config }, &[]);
    Text::reference("DeliveryKeyGroup")
}

/// What a browser is told: nothing of this is to be kept, framed, guessed at or run.
fn headers(t: &mut Builder, env: &Environment) -> Value {
    let config = json!({
        "Name": format!("leadline-{}", env.id),
        "Comment": format!("Delivery of leadline environment {}", env.id),
        "SecurityHeadersConfig": {
            "StrictTransportSecurity": {
                "AccessControlMaxAgeSec": 2 * YEAR_S,
                "IncludeSubdomains": true,
                "Preload": false,
                "Override": true,
            },
            "ContentTypeOptions": { "Override": true },
            "FrameOptions": { "FrameOption": "DENY", "Override": true },
            "ReferrerPolicy": { "ReferrerPolicy": "no-referrer", "Override": true },
            "ContentSecurityPolicy": {
                "ContentSecurityPolicy": "default-src 'none'; frame-ancestors 'none'; sandbox",
                "Override": true,
            },
        },
        "CustomHeadersConfig": {
            "Items": [{ "Header": "Cache-Control", "Value": "no-store", "Override": true }],
        },
    });
    t.add("DeliveryHeaders", &ResponseHeadersPolicy { response_headers_policy_config: config }, &[]);
    json!(Text::reference("DeliveryHeaders"))
}
