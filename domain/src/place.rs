//! Whether a process is where its environment is: its AWS account and region, and its Temporal namespace. One that is
//! somewhere else does nothing there.

use crate::fault::{Fault, FaultCode};
use crate::ids::EnvId;
use crate::placement::EnvFacts;
use std::collections::BTreeSet;

/// Where in AWS a process finds itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Account of the credentials that the process was started with, as AWS says it.
    pub account: String,
    /// Account of the worker role, as AWS says it; `None` where it was not asked for or cannot be taken, as before the
    /// environment is first applied.
    pub worker_account: Option<String>,
    /// Region of the clients.
    pub region: String,
    /// Endpoint of the clients, if it is another than AWS's own.
    pub endpoint_url: Option<String>,
}

/// Whether this is the environment's place in AWS; `endpoint_url` is the environment's.
///
/// # Errors
/// `environment.wrong_place`, with everything that differs.
pub fn in_aws(facts: &EnvFacts, endpoint_url: Option<&str>, found: &Whereabouts) -> Result<(), Fault> {
    let mut wrong = Vec::new();
    if found.account != facts.account {
        wrong.push(format!("the credentials are of account {}, not of {}", found.account, facts.account));
    }
    if let Some(account) = found.worker_account.as_ref().filter(|a| **a != facts.account) {
        wrong.push(format!("the worker role is of account {account}, not of {}", facts.account));
    }
    if found.region != facts.region {
        wrong.push(format!("the region is {}, not {}", found.region, facts.region));
    }
    let bare = |u: Option<&str>| u.map_or("AWS's own", |u| u.trim_end_matches('/')).to_owned();
    let (is, wanted) = (bare(found.endpoint_url.as_deref()), bare(endpoint_url));
    if is != wanted {
        wrong.push(format!("the endpoint is {is}, not {wanted}"));
    }
    refused(&facts.env, &wrong)
}

/// Whether a Temporal namespace is the environment's, by the environments whose marks are in it. One without a mark is
/// nobody's yet: the first apply of an environment marks it, and needs a worker that is there before.
///
/// # Errors
/// `environment.wrong_place` if another environment's mark is in it.
pub fn in_namespace(env: &EnvId, namespace: &str, marks: &BTreeSet<EnvId>) -> Result<(), Fault> {
    let others: Vec<&str> = marks.iter().filter(|m| *m != env).map(EnvId::as_str).collect();
    let wrong =
        (!others.is_empty()).then(|| format!("Temporal namespace {namespace} is that of {}", others.join(", ")));
    refused(env, &Vec::from_iter(wrong))
}

fn refused(env: &EnvId, wrong: &[String]) -> Result<(), Fault> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Fault::new(FaultCode::EnvironmentWrongPlace, format!("this is not environment {env}: {}", wrong.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultClass;

    fn env(id: &str) -> EnvId {
        EnvId::parse(id).unwrap()
    }

    fn facts() -> EnvFacts {
        let jurisdictions = BTreeSet::from(["us".to_owned()]);
        EnvFacts { env: env("us"), account: "222222222222".into(), region: "us-east-1".into(), jurisdictions }
    }

    fn there() -> Whereabouts {
        let worker_account = Some("222222222222".into());
        Whereabouts { account: "222222222222".into(), worker_account, region: "us-east-1".into(), endpoint_url: None }
    }

    #[test]
    fn only_the_environments_own_account_region_and_endpoint_will_do() {
        assert_eq!(in_aws(&facts(), None, &there()), Ok(()));
        // The worker role is made by the first apply.
        assert_eq!(in_aws(&facts(), None, &Whereabouts { worker_account: None, ..there() }), Ok(()));
        let local = |u: &str| Whereabouts { endpoint_url: Some(u.into()), ..there() };
        assert_eq!(in_aws(&facts(), Some("http://127.0.0.1:4566/"), &local("http://127.0.0.1:4566")), Ok(()));

        let other = || "333333333333".to_owned();
        let wrong = [
            (Whereabouts { account: other(), ..there() }, None, "the credentials are of account 333333333333"),
            (
                Whereabouts { worker_account: Some(other()), ..there() },
                None,
                "the worker role is of account 333333333333",
            ),
            (Whereabouts { region: "eu-west-2".into(), ..there() }, None, "the region is eu-west-2, not us-east-1"),
            (local("http://127.0.0.1:4566"), None, "the endpoint is http://127.0.0.1:4566, not AWS's own"),
            (there(), Some("http://127.0.0.1:4566"), "the endpoint is AWS's own, not http://127.0.0.1:4566"),
        ];
        for (found, endpoint, why) in wrong {
            let fault = in_aws(&facts(), endpoint, &found).unwrap_err();
            assert_eq!((fault.code, fault.class()), (FaultCode::EnvironmentWrongPlace, FaultClass::Blocked));
            assert!(fault.detail.contains(why) && !fault.detail.contains(';'), "{fault}");
        }
        // All of it at once.
        let nowhere = Whereabouts {
            account: other(),
            worker_account: Some(other()),
            region: "eu-west-2".into(),
            endpoint_url: Some("https://example.org".into()),
        };
        assert_eq!(in_aws(&facts(), None, &nowhere).unwrap_err().detail.matches(';').count(), 3);
    }

    #[test]
    fn a_namespace_with_the_mark_of_another_environment_will_not_do() {
        let judged = |marks: &[&str]| in_namespace(&env("us"), "leadline-us", &marks.iter().map(|m| env(m)).collect());
        assert_eq!(judged(&[]), Ok(()), "before the first apply");
        assert_eq!(judged(&["us"]), Ok(()));
        for marks in [&["test"][..], &["test", "us"]] {
            let fault = judged(marks).unwrap_err();
            assert_eq!(fault.code, FaultCode::EnvironmentWrongPlace);
            assert_eq!(fault.detail, "this is not environment us: Temporal namespace leadline-us is that of test");
        }
    }
}
