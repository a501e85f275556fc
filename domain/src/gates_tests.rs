use super::*;

const HOUR: i64 = 3_600_000;
const NOW: i64 = 1_000 * HOUR;

fn env(s: &str) -> EnvId {
    EnvId::parse(s).unwrap()
}

fn gates() -> Gates {
    Gates {
        from: env("test"),
        canary_within_h: 24,
        probes_within_h: 12,
        replay_clean: true,
        approvals: 2,
        four_eyes: true,
        evidence_key: None,
    }
}

fn run(hours_ago: i64) -> Run {
    Run { at_ms: NOW - hours_ago * HOUR, passed: true, source: "here".into() }
}

fn evidence() -> Evidence {
    let canary = |format: &str| Canary { path: "smb/ward".into(), format: format.into(), run: run(1) };
    Evidence {
        env: env("test"),
        inputs: "i".into(),
        applied: Some(Applied { inputs: "i".into(), run: run(100) }),
        probes: Some(run(1)),
        required: ["dicom", "pdf"].map(|f| ("smb/ward".to_owned(), f.to_owned())).into(),
        untried: BTreeMap::new(),
        canaries: vec![canary("dicom"), canary("pdf")],
        replay: Some(run(2)),
    }
}

fn by(name: &str) -> Approver {
    Approver { name: name.into(), digest: "d".into() }
}

fn closed_gates(e: Option<&Evidence>, approvers: &[Approver]) -> Vec<Gate> {
    let r = Request { digest: "d", organization: true, requested_by: "Ann", evidence: e, approvers };
    match Approval::grant(Some(&gates()), &r, NOW) {
        Ok(a) => {
            assert_eq!(a.digest(), "d");
            vec![]
        }
        Err(states) => states.into_iter().filter(|s| !s.open).map(|s| s.gate).collect(),
    }
}

#[test]
fn everything_shown_and_two_others_agree() {
    assert_eq!(closed_gates(Some(&evidence()), &[by("bob"), by("Cy")]), []);
}

#[test]
fn who_counts() {
    let e = evidence();
    let refused = |a: &[Approver]| assert_eq!(closed_gates(Some(&e), a), [Gate::Approvals]);
    refused(&[]);
    refused(&[by("bob")]);
    refused(&[by("bob"), by(" BOB ")]);
    refused(&[by("bob"), by("ann")]);
    refused(&[by("bob"), by("  ")]);
    refused(&[by("bob"), Approver { name: "Cy".into(), digest: "older".into() }]);
}

#[test]
fn each_gate_closes_by_itself() {
    type Break = fn(&mut Evidence);
    let cases: [(Gate, Break); 15] = [
        (Gate::Applied, |e| e.applied = None),
        (Gate::Applied, |e| e.inputs = "changed since".into()),
        (Gate::Applied, |e| e.applied.as_mut().unwrap().run.passed = false),
        (Gate::Probes, |e| e.probes = None),
        (Gate::Probes, |e| e.probes = Some(run(13))),
        (Gate::Probes, |e| e.probes.as_mut().unwrap().passed = false),
        (Gate::Canaries, |e| e.canaries.truncate(1)),
        (Gate::Canaries, |e| e.canaries[0].run = run(25)),
        (Gate::Canaries, |e| e.canaries[0].run.at_ms = NOW + HOUR),
        // Of what was there before.
        (Gate::Canaries, |e| e.applied.as_mut().unwrap().run = run(0)),
        // The last one counts.
        (Gate::Canaries, |e| {
            let failed = Run { passed: false, ..run(0) };
            e.canaries.push(Canary { run: failed, ..e.canaries[0].clone() });
        }),
        (Gate::Canaries, |e| e.required.clear()),
        // A way in that is open and was not shown, and one that could not even be tried.
        (Gate::Canaries, |e| {
            e.required.insert(("web".into(), "pdf".into()));
        }),
        (Gate::Canaries, |e| drop(e.untried.insert("hl7v2".into(), "say where".into()))),
        (Gate::Replay, |e| e.replay = None),
    ];
    for (gate, break_it) in cases {
        let mut e = evidence();
        break_it(&mut e);
        assert_eq!(closed_gates(Some(&e), &[by("bob"), by("Cy")]), [gate]);
    }
}

#[test]
fn evidence_of_another_environment_or_none_is_refused() {
    let other = Evidence { env: env("us"), ..evidence() };
    assert_eq!(closed_gates(Some(&other), &[by("bob"), by("Cy")]), [Gate::Applied]);
    assert_eq!(closed_gates(None, &[by("bob"), by("Cy")]), [Gate::Applied]);
}

#[test]
fn an_environment_without_gates_lets_in_and_one_with_gates_asks_for_people_for_its_own_stack() {
    let r = Request { digest: "d", organization: false, requested_by: "Ann", evidence: None, approvers: &[] };
    assert!(Approval::grant(None, &r, NOW).is_ok());
    assert!(Approval::grant(Some(&gates()), &r, NOW).is_err());
    let two = [by("bob"), by("Cy")];
    assert!(Approval::grant(Some(&gates()), &Request { approvers: &two, ..r }, NOW).is_ok());
}

#[test]
fn the_gate_of_canaries_says_what_was_not_shown_and_what_to_do() {
    let why = |e: &Evidence| canaries(&gates(), e, NOW).why;
    assert_eq!(why(&evidence()), "2 canaries passed within 24 h, by smb/ward");
    let mut e = evidence();
    e.required.extend([("fhir".to_owned(), "pdf".to_owned()), ("web".to_owned(), "edf".to_owned())]);
    e.untried.insert("hl7v2".into(), "say in test.toml where".into());
    let run = Run { passed: false, source: "canary/test/st-mary: it answered 403".into(), ..run(0) };
    e.canaries.push(Canary { path: "fhir".into(), format: "pdf".into(), run });
    assert_eq!(
        why(&e),
        "no canary passed within 24 h: pdf by fhir (the last did not: canary/test/st-mary: it answered 403), edf by web; \
         no canary can be sent by hl7v2: say in test.toml where"
    );
    e.required.clear();
    e.untried.clear();
    assert_eq!(why(&e), "no way into test takes a format that canaries have");
}

/// Who asked and who approves are told apart as those who are counted are: one person, however the name is written.
#[test]
fn a_name_is_one_person_in_any_letter_case() {
    let approver = |name: &str| Approver { name: name.into(), digest: "d".into() };
    for (asked, approves) in [("ÉVA", "éva"), ("Ann ", "ANN"), ("Øyvind", " øyvind")] {
        assert!(may_approve(&gates(), asked, "d", &approver(approves)).is_err(), "{asked} {approves}");
    }
    assert_eq!(may_approve(&gates(), "ÉVA", "d", &approver("eva")), Ok(()), "another name");
}
