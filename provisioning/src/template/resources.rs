//! The resource types we use, with the properties we set. Field names are CloudFormation's.

use super::Kind;
use super::iam::Policy;
use super::value::{Tag, Text};
use serde::Serialize;
use serde_json::Value;

macro_rules! resource {
    ($(#[$doc:meta])* $name:ident = $type:literal, stateful: $stateful:literal { $($(#[$attr:meta])* $field:ident: $t:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name { $($(#[$attr])* pub(crate) $field: $t,)* }
        impl Kind for $name {
            const TYPE: &'static str = $type;
            const STATEFUL: bool = $stateful;
        }
    };
}

resource!(
    /// A queue. Stateful: messages wait in it.
    Queue = "AWS::SQS::Queue", stateful: true {
        queue_name: String,
        #[serde(flatten)]
        fifo: Option<Fifo>,
        visibility_timeout: u32,
        message_retention_period: u32,
        receive_message_wait_time_seconds: u32,
        sqs_managed_sse_enabled: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        redrive_policy: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        redrive_allow_policy: Option<Value>,
        tags: Vec<Tag>,
    }
);

/// What a FIFO queue has besides.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Fifo {
    pub(crate) fifo_queue: bool,
    pub(crate) content_based_deduplication: bool,
    pub(crate) deduplication_scope: &'static str,
    pub(crate) fifo_throughput_limit: &'static str,
}

resource!(
    /// Who may do what with a queue.
    QueuePolicy = "AWS::SQS::QueuePolicy", stateful: false {
        queues: Vec<Text>,
        policy_document: Policy,
    }
);

resource!(
    /// A role.
    Role = "AWS::IAM::Role", stateful: false {
        role_name: String,
        description: String,
        assume_role_policy_document: Policy,
        max_session_duration: u32,
        tags: Vec<Tag>,
    }
);

resource!(
    /// What a role may do. Apart from the role, because a key's policy names the role and the role's policy the key.
    RolePolicy = "AWS::IAM::Policy", stateful: false {
        policy_name: String,
        policy_document: Policy,
        roles: Vec<Text>,
    }
);

resource!(
    /// A key.
    Key = "AWS::KMS::Key", stateful: true {
        description: String,
        enable_key_rotation: bool,
        pending_window_in_days: u32,
        key_policy: Policy,
        tags: Vec<Tag>,
    }
);

resource!(
    /// A name of a key. It stays with the key, which nobody would find without it.
    Alias = "AWS::KMS::Alias", stateful: true {
        alias_name: String,
        target_key_id: Text,
    }
);

resource!(
    /// A bucket.
    Bucket = "AWS::S3::Bucket", stateful: true {
        bucket_name: String,
        bucket_encryption: Value,
        versioning_configuration: Value,
        public_access_block_configuration: Value,
        ownership_controls: Value,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        object_lock_enabled: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        object_lock_configuration: Option<Value>,
        lifecycle_configuration: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        notification_configuration: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cors_configuration: Option<Value>,
        tags: Vec<Tag>,
    }
);

resource!(
    /// Who may do what with a bucket.
    BucketPolicy = "AWS::S3::BucketPolicy", stateful: true {
        bucket: Text,
        policy_document: Policy,
    }
);

resource!(
    /// A secret without a value: people put it in.
    Secret = "AWS::SecretsManager::Secret", stateful: true {
        name: String,
        description: String,
        kms_key_id: Text,
        tags: Vec<Tag>,
    }
);

resource!(
    /// A text that others can look up.
    Parameter = "AWS::SSM::Parameter", stateful: false {
        name: String,
        #[serde(rename = "Type")]
        kind: &'static str,
        description: String,
        value: String,
        tags: std::collections::BTreeMap<String, String>,
    }
);

resource!(
    /// CloudFront's identity towards a bucket.
    OriginAccessControl = "AWS::CloudFront::OriginAccessControl", stateful: false {
        origin_access_control_config: Value,
    }
);

resource!(
    /// The public half of a key that signs URLs.
    PublicKey = "AWS::CloudFront::PublicKey", stateful: false {
        public_key_config: Value,
    }
);

resource!(
    /// The keys whose signatures a distribution takes.
    KeyGroup = "AWS::CloudFront::KeyGroup", stateful: false {
        key_group_config: Value,
    }
);

resource!(
    /// Headers that CloudFront adds to answers.
    ResponseHeadersPolicy = "AWS::CloudFront::ResponseHeadersPolicy", stateful: false {
        response_headers_policy_config: Value,
    }
);

resource!(
    /// A distribution.
    Distribution = "AWS::CloudFront::Distribution", stateful: false {
        distribution_config: Value,
        tags: Vec<Tag>,
    }
);

resource!(
    /// Where alarms go.
    Topic = "AWS::SNS::Topic", stateful: false {
        topic_name: String,
        tags: Vec<Tag>,
    }
);

resource!(
    /// Who may do what with a topic.
    TopicPolicy = "AWS::SNS::TopicPolicy", stateful: false {
        topics: Vec<Text>,
        policy_document: Policy,
    }
);

resource!(
    /// A receiver of a topic.
    Subscription = "AWS::SNS::Subscription", stateful: false {
        topic_arn: Text,
        protocol: &'static str,
        endpoint: String,
    }
);

resource!(
    /// An alarm on a metric.
    Alarm = "AWS::CloudWatch::Alarm", stateful: false {
        alarm_name: String,
        alarm_description: String,
        #[serde(flatten)]
        watched: Watched,
        evaluation_periods: u32,
        threshold: u32,
        comparison_operator: &'static str,
        treat_missing_data: &'static str,
        alarm_actions: Vec<Text>,
        #[serde(rename = "OKActions")]
        ok_actions: Vec<Text>,
        tags: Vec<Tag>,
    }
);

/// What an alarm looks at.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged, rename_all_fields = "PascalCase")]
pub(crate) enum Watched {
    /// One metric.
    One {
        namespace: &'static str,
        metric_name: &'static str,
        dimensions: Vec<Dimension>,
        statistic: &'static str,
        period: u32,
    },
    /// What is computed from several.
    Computed { metrics: Value },
}

/// Which one of a metric.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Dimension {
    pub(crate) name: &'static str,
    pub(crate) value: Text,
}
