//! What the DICOM listener has to know.

use leadline_domain::OrgId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Bounds of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DicomLimits {
    /// Associations at a time, of all organizations.
    pub associations: usize,
    /// Associations at a time, of one organization.
    pub associations_per_org: usize,
    /// A peer that sends no whole PDU for so long is disconnected.
    pub idle: Duration,
    /// Longest object, bytes.
    pub object_bytes: usize,
    /// What all associations together hold in memory at a time, bytes.
    pub held_bytes: usize,
}

impl DicomLimits {
    /// From what is configured. One organization gets at most three quarters of the associations, so that there is
    /// always room for another; all together hold four of the longest objects, or as many as there are associations.
    #[must_use]
    pub fn new(associations: usize, idle: Duration, object_bytes: usize) -> Self {
        let associations = associations.max(1);
        Self {
            associations,
            associations_per_org: (associations * 3 / 4).max(1),
            idle,
            object_bytes,
            held_bytes: object_bytes.saturating_mul(associations.min(4)),
        }
    }
}

/// An AE title that devices of an organization call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ae {
    /// Whose.
    pub org: OrgId,
    /// The title they call.
    pub called: String,
    /// Titles they have. Empty: any.
    pub calling: BTreeSet<String>,
}

/// All AE titles of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Titles(BTreeMap<String, Ae>);

impl Titles {
    /// Of these. A title that two organizations claim belongs to neither: the check of the configuration tells, and
    /// data of one must not land at the other until then.
    #[must_use]
    pub fn new(all: Vec<Ae>) -> Self {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for ae in &all {
            *count.entry(ae.called.clone()).or_default() += 1;
        }
        Self(all.into_iter().filter(|ae| count[&ae.called] == 1).map(|ae| (ae.called.clone(), ae)).collect())
    }

    /// Who is called by this title.
    #[must_use]
    pub fn called(&self, title: &str) -> Option<&Ae> {
        self.0.get(title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_of_two_belongs_to_neither() {
        let ae = |org: &str, called: &str| Ae {
            org: OrgId::parse(org).unwrap(),
            called: called.into(),
            calling: BTreeSet::new(),
        };
        let t = Titles::new(vec![ae("aa", "ONE"), ae("bb", "ONE"), ae("cc", "TWO")]);
        assert!(t.called("ONE").is_none());
        assert_eq!(t.called("TWO").unwrap().org.as_str(), "cc");
    }

    #[test]
    fn one_organization_cannot_have_all_associations() {
        let l = DicomLimits::new(32, Duration::from_secs(1), 1 << 20);
        assert!(l.associations_per_org < l.associations);
        assert_eq!(l.held_bytes, 4 << 20);
    }
}
