//! What the DICOM listener has to know.

use leadline_domain::OrgId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Each may take a few seconds for its handshake and its request, and holds one PDU at most.
const STRANGERS: usize = 256;

/// Bounds of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DicomLimits {
    /// Associations at a time, of all organizations.
    pub associations: usize,
    /// Associations at a time, of one organization.
    pub associations_per_org: usize,
    /// Connections at a time of which is not known yet who it is: they are no associations, and take none's place.
    pub strangers: usize,
    /// A peer that sends no whole PDU for so long is disconnected.
    pub idle: Duration,
    /// Longest object, bytes.
    pub object_bytes: usize,
    /// What all associations together hold in memory at a time, bytes.
    pub held_bytes: usize,
}

impl DicomLimits {
    /// From what is configured. One organization gets at most three quarters of the associations, so that there is
    /// always room for another; all together hold four of the longest objects, or as many as there are associations,
    /// and one organization three quarters of that, or one object.
    #[must_use]
    pub fn new(associations: usize, idle: Duration, object_bytes: usize) -> Self {
        let associations = associations.max(1);
        Self {
            associations,
            associations_per_org: (associations * 3 / 4).max(1),
            strangers: STRANGERS,
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
    /// Certificates they come with, by SHA-256 (DER), and the titles that each may have; none: any of those above.
    /// Without one, whoever the listener lets in may call.
    pub certificates: BTreeMap<[u8; 32], BTreeSet<String>>,
}

/// All AE titles of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Titles {
    by_title: BTreeMap<String, Ae>,
    /// Whose each certificate is; `None` if two organizations say that it is theirs.
    owners: BTreeMap<[u8; 32], Option<OrgId>>,
}

impl Titles {
    /// Of these. A title that two organizations claim belongs to neither: the check of the configuration tells, and
    /// data of one must not land at the other until then.
    #[must_use]
    pub fn new(all: Vec<Ae>) -> Self {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for ae in &all {
            *count.entry(ae.called.clone()).or_default() += 1;
        }
        let mut owners: BTreeMap<[u8; 32], Option<OrgId>> = BTreeMap::new();
        for (ae, certificate) in all.iter().flat_map(|ae| ae.certificates.keys().map(move |c| (ae, c))) {
            let owner = owners.entry(*certificate).or_insert_with(|| Some(ae.org.clone()));
            if owner.as_ref() != Some(&ae.org) {
                *owner = None;
            }
        }
        let by_title = all.into_iter().filter(|ae| count[&ae.called] == 1).map(|ae| (ae.called.clone(), ae)).collect();
        Self { by_title, owners }
    }

    /// Whose a certificate is: an organization's, nobody's that could be named (`Some(None)`), or unknown.
    #[must_use]
    pub fn owner(&self, certificate: &[u8; 32]) -> Option<Option<&OrgId>> {
        self.owners.get(certificate).map(Option::as_ref)
    }

    /// Who is called by this title.
    #[must_use]
    pub fn called(&self, title: &str) -> Option<&Ae> {
        self.by_title.get(title)
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
            certificates: BTreeMap::from([([1; 32], BTreeSet::new()), ([org.as_bytes()[0]; 32], BTreeSet::new())]),
        };
        let t = Titles::new(vec![ae("aa", "ONE"), ae("bb", "ONE"), ae("cc", "TWO")]);
        assert!(t.called("ONE").is_none());
        assert_eq!(t.called("TWO").unwrap().org.as_str(), "cc");
        assert_eq!((t.owner(&[1; 32]), t.owner(&[2; 32])), (Some(None), None), "a certificate of several is nobody's");
        assert_eq!(t.owner(&[b'c'; 32]), Some(Some(&OrgId::parse("cc").unwrap())));
    }

    #[test]
    fn one_organization_cannot_have_all_associations() {
        let l = DicomLimits::new(32, Duration::from_secs(1), 1 << 20);
        assert!(l.associations_per_org < l.associations);
        assert_eq!(l.held_bytes, 4 << 20);
    }
}
