//! The other ways in: what clinicians and EHRs send, and what they are told.

use crate::harness::stack::Stack;
use crate::harness::tools::wait_for;
use crate::ways_in::WaysIn;
use leadline_formats::synth::{Spec, SynthFormat};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// One thing that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// By which way.
    pub way: &'static str,
    /// What.
    pub what: &'static str,
    /// What its sender was told at once.
    pub told: String,
    /// What the sender should have been told.
    pub expected: &'static str,
}

/// Sends one recording by all ways, a second one that came from a share before, and one that is cut. Returns what the
/// senders were told, and what of the outcomes is not as it should be.
///
/// # Panics
/// When an upload is refused.
#[must_use]
pub fn send_by_every_way(stack: &Stack, ways: &WaysIn, org: &str, known: &[u8]) -> (Vec<Sent>, Vec<String>) {
    let recording = SynthFormat::Dicom.write(&Spec::new(20)).expect("a recording").remove(0).bytes;
    let report = SynthFormat::Pdf.write(&Spec::new(21)).expect("a report").remove(0).bytes;
    let cut = &report[..report.len() / 2];
    let before = stack.files().len();
    let mut sent = Vec::new();
    let mut say = |way, what, told: String, expected| sent.push(Sent { way, what, told, expected });
    let told = |code: Option<String>| code.unwrap_or_else(|| "no answer".into());
    say("HL7 v2", "a recording, in an ORU^R01", told(ways.hl7("1001", "dicom", &recording)), "AA");
    say(
        "FHIR",
        "the same, in a DocumentReference",
        ways.fhir(org, "1001", "application/dicom", &recording).to_string(),
        "201",
    );
    say("DICOM", "the same, by STOW-RS", ways.stow(org, &recording).to_string(), "200");
    let first = ways.web(org, "application/dicom", &recording);
    let second = ways.web(org, "application/dicom", known);
    say("HL7 v2", "a report that ends early", told(ways.hl7("1002", "pdf", cut)), "AE");
    say("FHIR", "the same", ways.fhir(org, "1002", "application/pdf", cut).to_string(), "422");
    let third = ways.web(org, "application/pdf", cut);
    for (id, what, expected) in [
        (first, "the same recording, uploaded", "duplicate"),
        (second, "what a device wrote onto the share", "duplicate"),
        (third, "the report that ends early", "incomplete"),
    ] {
        wait_for("an upload has an outcome", LIMIT, || ways.upload(org, &id)["done"] == true);
        let answer = ways.upload(org, &id);
        say("web", what, answer["text"].as_str().map_or_else(|| answer.to_string(), str::to_owned), expected);
    }
    let ended = ["delivered", "duplicate", "quarantined"];
    let of_these = || -> Vec<(String, String)> {
        let text = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
        let all = stack.files();
        let received = all.iter().filter(|f| f["ingress"] != "smb");
        received.map(|f| (text(f, "ingress"), text(f, "state"))).collect()
    };
    wait_for("all that was sent has an outcome", LIMIT, || {
        stack.files().len() >= before + 6 && of_these().iter().all(|(_, s)| ended.contains(&s.as_str()))
    });
    let count = |state: &str| of_these().iter().filter(|(_, s)| s == state).count();
    let mut wrong: Vec<String> = sent
        .iter()
        .filter(|s| !s.told.to_lowercase().contains(&s.expected.to_lowercase()))
        .map(|s| format!("{}: {} was told {:?}, expected {:?}", s.way, s.what, s.told, s.expected))
        .collect();
    let (delivered, linked, kept) = (count("delivered"), count("duplicate"), count("quarantined"));
    if (delivered, linked, kept) != (1, 4, 1) {
        wrong.push(format!(
            "of what was sent 1 is delivered, 4 are linked and 1 is kept; here {delivered}, {linked}, {kept}"
        ));
    }
    (sent, wrong)
}
