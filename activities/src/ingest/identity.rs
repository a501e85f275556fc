//! The claims of a recording's identity: which recordings that came before it belongs to.

use crate::deps::Deps;
use crate::inspect;
use crate::ports::staging::Once;
use crate::ports::store::{OrgStore, Put};
use bytes::Bytes;
use leadline_domain::related::{IdentityClaim, add_related};
use leadline_domain::{Digest, Fault, Marks, OrgId, RecordingId, Related};

/// Claims the identity of a recording that is claimed, or finds the recording that had it first. Where recordings come in
/// several encodings, a mark that does not depend on the encoding is claimed besides. All of it may be repeated, and of
/// two at once the one whose write comes second finds the other.
pub(super) async fn claim(
    deps: &Deps,
    store: &dyn OrgStore,
    org: &OrgId,
    digest: Digest,
    marks: &Marks,
) -> Result<Vec<Related>, Fault> {
    let ours = IdentityClaim { digest, marks: marks.clone() };
    let text = serde_json::to_string(&ours).unwrap_or_default();
    let mut related = Vec::new();
    for name in marks.claims(deps.registry.org(org)?.link_encodings) {
        if let Put::Exists { claim, .. } = store.put_once(Once::Identities, &name, Bytes::new(), &text).await?
            && let Ok(first) = serde_json::from_str::<IdentityClaim>(&claim)
            && first.digest != digest
            && let Some(how) = inspect::relate(&first.marks, marks)
        {
            add_related(&mut related, Related { recording: RecordingId::new(org, &first.digest), how });
        }
    }
    Ok(related)
}
