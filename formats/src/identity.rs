//! Which recording a content is.
//!
//! Values are opaque. What could hold patient data (an accession number, a recording field, a time) is hashed
//! together with the kind of value; only identifiers that consist of the characters of an OID or a UUID are kept.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a content says about which recording it is. Every field is absent when the content does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The identifier that the format itself assigns (SOP Instance UID, document id, control id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// Device and time of acquisition, hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition: Option<String>,
    /// Digest of the samples, in a form that does not depend on transfer encoding or white space. The word before
    /// the colon names the form: digests of different forms say nothing about each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waveform: Option<String>,
    /// Digest of the course of the first lead: the same in every encoding that keeps the measured numbers, up to a whole
    /// factor and an offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Version or edit mark of the same recording, hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl Identity {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How two contents relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same recording in another encoding: may be merged without a human.
    Merge,
    /// The same identifier with other samples or another version.
    Revision,
    /// They seem to belong together: keep both, and say so.
    Link,
    /// Nothing in common.
    Unrelated,
}

/// Compares two identities.
///
/// Identifiers collide in practice (three FDA sample files share an `id` root and their samples and are different
/// subjects), and so do samples (a flat line, a calibration pulse), so merging needs both.
#[must_use]
pub fn relate(a: &Identity, b: &Identity) -> Relation {
    let same = |x: &Option<String>, y: &Option<String>| x.is_some() && x == y;
    let native = same(&a.native, &b.native);
    let waveform = same(&a.waveform, &b.waveform);
    let comparable = match (&a.waveform, &b.waveform) {
        (Some(x), Some(y)) => x.split(':').next() == y.split(':').next(),
        _ => false,
    };
    if native && waveform && a.revision == b.revision {
        Relation::Merge
    } else if native && (comparable || (a.revision.is_some() && b.revision.is_some() && a.revision != b.revision)) {
        Relation::Revision
    } else if native || waveform || same(&a.trace, &b.trace) || same(&a.acquisition, &b.acquisition) {
        Relation::Link
    } else {
        Relation::Unrelated
    }
}

/// Hashes values that may hold patient data. The kind keeps values of different fields apart.
pub(crate) fn opaque(kind: &str, values: &[&[u8]]) -> Option<String> {
    if values.iter().all(|value| trimmed(value).is_empty()) {
        return None;
    }
    let mut all = Running::new(kind);
    values.iter().for_each(|value| all.add(trimmed(value)));
    all.short()
}

/// [`opaque`] over values that come one at a time.
pub(crate) struct Running {
    hash: Sha256,
    any: bool,
}

impl Running {
    pub(crate) fn new(kind: &str) -> Self {
        Self { hash: Sha256::new_with_prefix(kind), any: false }
    }

    pub(crate) fn add(&mut self, value: &[u8]) {
        self.hash.update((value.len() as u64).to_le_bytes());
        self.hash.update(value);
        self.any = true;
    }

    /// The digest, if there was a value.
    pub(crate) fn short(&self) -> Option<String> {
        self.any.then(|| format!("h:{}", hex::encode(&self.hash.clone().finalize()[..16])))
    }
}

/// Identifiers or digests of the same kind that come one at a time. One stays as it is, so that it is the same wherever it
/// comes alone; of more there is one over all in their order.
#[derive(Default)]
pub(crate) struct Chain {
    value: Option<String>,
    broken: bool,
}

impl Chain {
    pub(crate) fn add(&mut self, next: &str) {
        self.value = Some(match self.value.take() {
            None => next.to_owned(),
            Some(before) => {
                let mut all = Running::new("chain");
                all.add(before.as_bytes());
                all.add(next.as_bytes());
                // The form stays in front.
                let form = next.split_once(':').map_or("h", |(form, _)| form);
                all.short().unwrap_or_default().replacen("h:", &format!("{form}:"), 1)
            }
        });
    }

    /// One of them has no value: nothing is known of all.
    pub(crate) fn add_unknown(&mut self) {
        self.broken = true;
    }

    pub(crate) fn value(&self) -> Option<String> {
        self.value.clone().filter(|_| !self.broken)
    }
}

/// Keeps an OID or a UUID as it is and hashes everything else: real UIDs can be invalid, and a name could stand in
/// their place.
pub(crate) fn uid(kind: &str, value: &[u8]) -> Option<String> {
    let value = trimmed(value);
    let uuid = value.len() == 36
        && value.iter().enumerate().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => c.is_ascii_hexdigit(),
        });
    if is_oid(value) || uuid {
        return Some(format!("uid:{}", String::from_utf8_lossy(value).to_ascii_lowercase()));
    }
    opaque(kind, &[value])
}

/// Whether a value is an OID as ISO 9834-1 has it, in more letters than a date with points has: 0 to 2, then numbers
/// without leading zeros, the first of them below 40 but for 2.
fn is_oid(value: &[u8]) -> bool {
    const SHORTEST: usize = 16;
    let number =
        |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit) && (part.len() == 1 || part[0] != b'0');
    let mut parts = value.split(|c| *c == b'.');
    let (Some(&[root @ b'0'..=b'2']), Some(second)) = (parts.next(), parts.next()) else { return false };
    (SHORTEST..=64).contains(&value.len())
        && number(second)
        && (root == b'2' || second.len() == 1 || second.len() == 2 && second[0] < b'4')
        && parts.clone().next().is_some()
        && parts.all(number)
}

/// A running digest of samples.
pub(crate) struct WaveDigest {
    form: &'static str,
    hash: Sha256,
    any: bool,
    odd: Option<u8>,
}

impl WaveDigest {
    pub(crate) fn new(form: &'static str) -> Self {
        Self { form, hash: Sha256::new(), any: false, odd: None }
    }

    /// Adds bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.any |= !bytes.is_empty();
        self.hash.update(bytes);
    }

    /// Adds 16-bit words of the other byte order.
    pub(crate) fn swapped(&mut self, mut bytes: &[u8]) {
        if let Some(first) = self.odd
            && let Some((second, rest)) = bytes.split_first()
        {
            self.bytes(&[*second, first]);
            self.odd = None;
            bytes = rest;
        }
        let mut block = [0u8; 1024];
        for part in bytes.chunks(block.len()) {
            let even = part.len() & !1;
            for (to, from) in block[..even].chunks_exact_mut(2).zip(part.chunks_exact(2)) {
                to[0] = from[1];
                to[1] = from[0];
            }
            let pair = &block[..even];
            self.any |= !pair.is_empty();
            self.hash.update(pair);
            if part.len() > even {
                self.odd = Some(part[even]);
            }
        }
    }

    /// Adds a separator and numbers that describe what follows.
    pub(crate) fn shape(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.hash.update(number.to_le_bytes());
        }
    }

    pub(crate) fn finish(&self) -> Option<String> {
        self.any.then(|| format!("{}:{}", self.form, hex::encode(self.hash.clone().finalize())))
    }
}

/// A value without the white space and zero bytes that formats pad with.
pub(crate) fn trimmed(value: &[u8]) -> &[u8] {
    let pad = |c: &u8| c.is_ascii_whitespace() || *c == 0;
    let from = value.iter().position(|c| !pad(c)).unwrap_or(value.len());
    let to = value.iter().rposition(|c| !pad(c)).map_or(from, |last| last + 1);
    &value[from..to]
}

#[cfg(test)]
mod tests {
    use super::uid;

    #[test]
    fn an_identifier_is_kept_and_anything_like_a_date_or_a_number_is_hashed() {
        let kept = |value: &str| uid("dicom", value.as_bytes()).is_some_and(|uid| uid.starts_with("uid:"));
        for value in ["1.2.840.10008.1.2", "2.25.12345678901234", "03d494f2-94f2-13d4-857f-00095c028bdc"] {
            assert!(kept(value), "{value}");
        }
        for value in [
            "19670412.77421",
            "2.12.1967",
            "1.12.67",
            "1967.04.12",
            "12.4.1967.1",
            "3.2.840.10008",
            "1.2.840.007",
            "1.40.840.10008",
            "1.2..840.10008",
            "1.2.840.10008.",
            "1.284010008123456789",
            "2.12.1967.77421",
            "..........1",
            "4711",
        ] {
            assert!(!kept(value), "{value}");
            assert!(uid("dicom", value.as_bytes()).is_some_and(|uid| uid.starts_with("h:")), "{value}");
        }
    }
}
