//! From what `leadline_formats` says of bytes to what the domain decides on.

use leadline_domain::{Digest, Marks, Relation, Structure, StructureVerdict};
use leadline_formats::{Evidence, Identity, Inspection, Inspector, Verdict};

/// How much of either end of a large file a look reads, bytes: what [`leadline_formats::quick_look`] makes use of.
pub const WINDOW: u64 = leadline_formats::LOOK;

/// The structural check of a whole content.
#[must_use]
pub fn structure_of(bytes: &[u8]) -> Structure {
    structure(&leadline_formats::inspect_bytes(bytes))
}

/// Judges a large content by its ends: certainly partial, or worth reading as a whole. For the latter the verdict is
/// provisional and decides only how long to wait before; the check over the whole decides on delivery.
#[must_use]
pub fn quick_look(head: &[u8], tail: &[u8], size: u64) -> Structure {
    if let Some(partial) = leadline_formats::quick_look(head, tail, size) {
        return structure(&partial);
    }
    let mut s = structure(&leadline_formats::inspect_bytes(head));
    s.verdict = if s.format == UNKNOWN { StructureVerdict::Unverifiable } else { StructureVerdict::Complete };
    s.evidence = vec!["The first and last bytes are in order; all of it is checked while it is stored.".to_owned()];
    s.identity = None;
    s.marks = Box::default();
    s
}

const UNKNOWN: &str = "unknown";

/// The same check, fed in order.
pub struct Streaming(Inspector);

impl Streaming {
    /// For a content of this size.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self(Inspector::new(Some(size)))
    }
    /// The next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.0.push(chunk);
    }
    /// The verdict.
    #[must_use]
    pub fn finish(self) -> Structure {
        structure(&self.0.finish())
    }
}

/// The verdict in the domain's words.
#[must_use]
pub fn verdict(v: Verdict) -> StructureVerdict {
    match v {
        Verdict::Complete => StructureVerdict::Complete,
        Verdict::Partial => StructureVerdict::Partial,
        Verdict::Malformed => StructureVerdict::Malformed,
        Verdict::Suspect => StructureVerdict::Suspect,
        Verdict::Unverifiable => StructureVerdict::Unverifiable,
    }
}

fn structure(i: &Inspection) -> Structure {
    let verdict = verdict(i.verdict);
    let mut evidence: Vec<String> = i.evidence.iter().map(Evidence::sentence).collect();
    if verdict == StructureVerdict::Complete && evidence.is_empty() {
        evidence.push("Every end mark, length and checksum that the format has is there and right.".to_owned());
    }
    // One opaque text: the strongest identity the content has, hashed, so that nothing of it can be read back.
    let strongest =
        [("native", &i.identity.native), ("acquisition", &i.identity.acquisition), ("waveform", &i.identity.waveform)]
            .into_iter()
            .find_map(|(kind, v)| v.as_ref().map(|v| format!("{kind}:{}", &Digest::of(v.as_bytes()).to_hex()[..32])));
    let opaque = |v: &Option<String>| v.as_ref().map(|v| Digest::of(v.as_bytes()).to_hex()[..32].to_owned());
    let marks = Box::new(Marks {
        native: opaque(&i.identity.native),
        acquisition: opaque(&i.identity.acquisition),
        // A digest already; the word before the colon says of what.
        waveform: i.identity.waveform.clone(),
        trace: i.identity.trace.clone(),
        revision: opaque(&i.identity.revision),
    });
    Structure { format: name(i), verdict, evidence, identity: strongest, marks }
}

/// How two recordings relate by their marks; `None`: not at all.
#[must_use]
pub fn relate(a: &Marks, b: &Marks) -> Option<Relation> {
    let of = |m: &Marks| Identity {
        native: m.native.clone(),
        acquisition: m.acquisition.clone(),
        waveform: m.waveform.clone(),
        trace: m.trace.clone(),
        revision: m.revision.clone(),
    };
    match leadline_formats::relate(&of(a), &of(b)) {
        leadline_formats::Relation::Merge => Some(Relation::Merge),
        leadline_formats::Relation::Revision => Some(Relation::Revision),
        leadline_formats::Relation::Link => Some(Relation::Link),
        leadline_formats::Relation::Unrelated => None,
    }
}

/// The format's name as it is serialized everywhere.
fn name(i: &Inspection) -> String {
    serde_json::to_value(i.format).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_else(|| UNKNOWN.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_formats::synth::{Spec, SynthFormat};

    #[test]
    fn whole_and_streamed_agree_and_a_cut_is_partial() {
        for f in [SynthFormat::Dicom, SynthFormat::Aecg, SynthFormat::Pdf, SynthFormat::Edf] {
            let bytes = f.write(&Spec::new(3)).unwrap().remove(0).bytes;
            let whole = structure_of(&bytes);
            assert_eq!(whole.verdict, StructureVerdict::Complete, "{f}: {:?}", whole.evidence);
            let mut s = Streaming::new(bytes.len() as u64);
            bytes.chunks(1000).for_each(|c| s.push(c));
            assert_eq!(s.finish(), whole, "{f}");
            assert_eq!(structure_of(&bytes[..bytes.len() / 2]).verdict, StructureVerdict::Partial, "{f}");
        }
    }

    #[test]
    fn identities_cannot_be_read_back() {
        let bytes = SynthFormat::Dicom.write(&Spec::new(3)).unwrap().remove(0).bytes;
        let identity = structure_of(&bytes).identity.unwrap();
        assert!(identity.starts_with("native:") && !identity.contains("2.25"));
    }
}
