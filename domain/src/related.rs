//! Recordings that are not the same bytes and yet seem to be of the same recording. Each is delivered; the link between
//! them is kept with the file's history and in its audit entry, never in the message, which follows from the bytes alone.

use crate::ids::{Digest, RecordingId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How two recordings relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same recording in another encoding: identifier and samples are the same.
    Merge,
    /// The same identifier with other samples or another version.
    Revision,
    /// They seem to belong together: something that identifies them is the same.
    Link,
}

impl Relation {
    fn closeness(self) -> u8 {
        match self {
            Self::Merge => 2,
            Self::Revision => 1,
            Self::Link => 0,
        }
    }
}

/// A recording that was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Which.
    pub recording: RecordingId,
    /// How.
    pub how: Relation,
}

/// By what a recording is compared with others. Opaque: nothing of a patient can be read back from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The identifier that the format itself assigns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// Device and time of acquisition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition: Option<String>,
    /// Digest of the samples; the word before the colon names the form in which they were digested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waveform: Option<String>,
    /// Digest of the course of the first lead, the same in every encoding that keeps the measured numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Version or edit mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl Marks {
    /// The strongest one, with its kind: native, then acquisition, then waveform.
    #[must_use]
    pub fn strongest(&self) -> Option<(&'static str, &str)> {
        [("native", &self.native), ("acquisition", &self.acquisition), ("waveform", &self.waveform)]
            .into_iter()
            .find_map(|(kind, v)| v.as_deref().map(|v| (kind, v)))
    }

    /// Name of the claim that the first recording with this strongest mark makes; 32 hexadecimal digits.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        self.strongest().map(name)
    }

    /// Names of the claims that it makes: of the strongest mark and, if other encodings are to be found, of the mark that
    /// does not depend on the encoding. That is the course of the first lead, or else device and time, as one format
    /// writes them.
    #[must_use]
    pub fn claims(&self, encodings: bool) -> Vec<String> {
        let beyond = [("trace", &self.trace), ("acquisition", &self.acquisition)]
            .into_iter()
            .find_map(|(kind, v)| v.as_deref().map(|v| (kind, v)))
            .filter(|mark| encodings && Some(*mark) != self.strongest());
        self.strongest().into_iter().chain(beyond).map(name).collect()
    }
}

fn name((kind, value): (&str, &str)) -> String {
    Digest::of(format!("{kind}:{value}").as_bytes()).to_hex()[..32].to_owned()
}

/// Adds a recording that was there before; one that several marks led to is named once, in its closest relation.
pub fn add_related(all: &mut Vec<Related>, new: Related) {
    match all.iter_mut().find(|r| r.recording == new.recording) {
        Some(known) if new.how.closeness() > known.how.closeness() => *known = new,
        Some(_) => {}
        None => all.push(new),
    }
}

/// What the claim of an identity says: who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaim {
    /// The recording that came first.
    pub digest: Digest,
    /// Its marks.
    pub marks: Marks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_of_the_strongest_mark() {
        let some = |s: &str| Some(s.to_owned());
        let m = Marks { acquisition: some("a"), waveform: some("w:1"), ..Marks::default() };
        assert_eq!(m.strongest(), Some(("acquisition", "a")));
        let with_native = Marks { native: some("n"), ..m.clone() };
        assert_ne!(m.claim(), with_native.claim());
        assert_eq!(with_native.claim(), Marks { native: some("n"), ..Marks::default() }.claim());
        assert_eq!(Marks::default().claim(), None);
    }

    #[test]
    fn what_does_not_depend_on_the_encoding_is_claimed_too_where_it_is_asked_for() {
        let some = |s: &str| Some(s.to_owned());
        let dicom = Marks { native: some("1.2"), acquisition: some("d"), trace: some("t"), ..Marks::default() };
        let aecg = Marks { native: some("3.4"), acquisition: some("e"), trace: some("t"), ..Marks::default() };
        let edf = Marks { acquisition: some("f"), trace: some("t"), ..Marks::default() };
        let common = |a: &Marks, b: &Marks, encodings| {
            let of = a.claims(encodings);
            b.claims(encodings).iter().filter(|c| of.contains(c)).count()
        };
        for (a, b) in [(&dicom, &aecg), (&aecg, &edf), (&edf, &dicom)] {
            assert_eq!((common(a, b, false), common(a, b, true)), (0, 1));
        }
        for m in [&dicom, &aecg, &edf] {
            assert_eq!(m.claims(false), m.claim().into_iter().collect::<Vec<_>>());
            assert_eq!(m.claims(true)[0], m.claim().unwrap_or_default());
        }
        // Without samples: the same device and time under another identifier.
        let print = Marks { native: some("5.6"), acquisition: some("d"), ..Marks::default() };
        let again = Marks { native: some("7.8"), ..print.clone() };
        assert_eq!(common(&print, &again, true), 1);
        let only = Marks { acquisition: some("d"), ..Marks::default() };
        assert_eq!(only.claims(true).len(), 1, "one mark is one claim");
        assert_eq!(common(&only, &print, true), 1);
        let bare = Marks { trace: some("t"), ..Marks::default() };
        assert_eq!((bare.claims(false).len(), bare.claims(true).len()), (0, 1));
    }

    #[test]
    fn a_recording_that_two_marks_led_to_is_named_once() {
        let org = crate::OrgId::parse("st-mary").expect("an id");
        let of = |n: &str, how| Related { recording: RecordingId::new(&org, &Digest::of(n.as_bytes())), how };
        let mut all = Vec::new();
        for new in [of("a", Relation::Link), of("a", Relation::Merge), of("b", Relation::Link), of("a", Relation::Link)]
        {
            add_related(&mut all, new);
        }
        assert_eq!(all, [of("a", Relation::Merge), of("b", Relation::Link)]);
    }
}
