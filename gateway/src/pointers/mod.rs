//! What pointers in messages lead to: documents on an organization's own web servers and shares.

mod files;
mod web;

pub use files::Followed;
pub use web::Web;
pub(crate) use web::{Chosen, body};

use async_trait::async_trait;
use bytes::Bytes;
use leadline_domain::{Fault, FaultCode, OrgId};
use leadline_ehr::hl7::Pointer;
use std::collections::BTreeSet;

/// Fetches what a pointer names.
#[async_trait]
pub trait Pointers: Send + Sync {
    /// The document, at most `limit` bytes of it. `hosts` are those that the organization may be led to.
    ///
    /// # Errors
    /// `pointer.refused` if it leads where it may not, or to more than `limit` bytes; `pointer.unreachable`; `share.*`.
    async fn fetch(
        &self,
        org: &OrgId,
        pointer: &Pointer,
        hosts: &BTreeSet<String>,
        limit: usize,
    ) -> Result<Bytes, Fault>;
}

fn refused(why: &str) -> Fault {
    Fault::new(FaultCode::PointerRefused, why)
}

fn too_long() -> Fault {
    refused("what it leads to is longer than the gateway takes")
}
