//! Storages of an organization besides the one of its data.

use leadline_domain::transfer::Storage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Storages, by name. Each is a bucket of the organization's stack, in the environment's region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgStorages {
    /// Copies for the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing: Option<ProcessingStorage>,
    /// Copies that are kept, apart from the originals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveStorage>,
}

/// A storage of copies that are kept. Nothing removes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveStorage {}

/// A storage of copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessingStorage {
    /// Copies are removed after so long, days. The originals stay in the storage of the organization's data.
    #[schemars(range(min = 1, max = 3_650))]
    pub keep_days: u32,
}

impl Default for ProcessingStorage {
    fn default() -> Self {
        Self { keep_days: 30 }
    }
}

impl OrgStorages {
    /// Those there are.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Storage> {
        let processing = self.processing.iter().map(|_| Storage::Processing);
        processing.chain(self.archive.iter().map(|_| Storage::Archive)).collect()
    }
}
