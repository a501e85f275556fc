//! Who asks. The organization is what the token says and nothing else.

use super::problem::Problem;
use async_trait::async_trait;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use leadline_domain::{Fault, FaultCode, OrgId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who asks: an extractor for handlers. Requests without a token that is believed do not reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Organization, from the token's claim.
    pub org: OrgId,
    /// `sub` of the token: a person or a system. An identifier, not to be logged.
    pub subject: String,
    /// `scope` of the token (RFC 8693 section 4.2: separated by blanks), or `scp`.
    pub scopes: BTreeSet<String>,
}

impl Caller {
    /// Fails if a request names another organization than the caller's.
    ///
    /// # Errors
    /// `request.forbidden`.
    pub fn only(&self, named: Option<&str>) -> Result<(), Fault> {
        match named {
            Some(n) if n != self.org.as_str() => {
                Err(Fault::new(FaultCode::RequestForbidden, "the request names another organization than the token"))
            }
            _ => Ok(()),
        }
    }
}

/// Tells who a token is of.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Whose token this is.
    ///
    /// # Errors
    /// `request.unauthenticated` if it is not believed, `request.forbidden` if it names no organization,
    /// `identity.unreachable`.
    async fn caller(&self, token: &str) -> Result<Caller, Fault>;
}

/// What a layer has found out already about who asks, so that a token is looked at once.
#[derive(Clone)]
pub(super) struct Found(pub(super) Result<Caller, Problem>);

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<dyn Tokens>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(Found(found)) = parts.extensions.get() {
            return found.clone();
        }
        let given = parts.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let token = bearer(given)
            .ok_or_else(|| Problem::new(FaultCode::RequestUnauthenticated, "Authorization: Bearer TOKEN is missing"))?;
        Ok(Arc::<dyn Tokens>::from_ref(state).caller(token).await?)
    }
}

/// The token of an `Authorization` header (RFC 6750 section 2.1). The scheme's case does not matter (RFC 9110 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens() {
        assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer("bearer  a.b.c "), Some("a.b.c"));
        for no in ["", "Bearer", "Bearer ", "Basic dTpw", "a.b.c"] {
            assert_eq!(bearer(no), None, "{no}");
        }
    }

    #[test]
    fn an_organization_names_itself_only() {
        let org = OrgId::parse("north").unwrap();
        let c = Caller { org, subject: "s".into(), scopes: BTreeSet::new() };
        assert_eq!(c.only(None), Ok(()));
        assert_eq!(c.only(Some("north")), Ok(()));
        assert_eq!(c.only(Some("south")).unwrap_err().code, FaultCode::RequestForbidden);
    }
}
