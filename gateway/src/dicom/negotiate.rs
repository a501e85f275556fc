//! Whether an association is accepted, and for what (PS3.8 7.1, 9.3.2 to 9.3.4). Pure.

use super::config::Titles;
use super::uids::{self, APPLICATION_CONTEXT, IMPLEMENTATION_CLASS, IMPLEMENTATION_NAME, VERIFICATION};
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason as Reason, AssociationRJSource, AssociationRQ, MAXIMUM_PDU_SIZE, MINIMUM_PDU_SIZE,
    PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};
use leadline_domain::{Fault, FaultCode, OrgId};
use std::collections::BTreeMap;

/// Longest P-DATA-TF that peers may send, bytes: fewer round trips for a large object, and a bound on what one holds.
pub(crate) const MAX_PDU: u32 = 131_072;

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Whose device it is.
    pub(crate) org: OrgId,
    /// SOP class and transfer syntax by presentation context.
    pub(crate) contexts: BTreeMap<u8, Context>,
    /// The longest P-DATA-TF that the peer takes, bytes.
    pub(crate) peer_max_pdu: u32,
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// SOP class.
    pub(crate) class: String,
    /// Transfer syntax.
    pub(crate) syntax: String,
}

/// What a peer that is refused is told, and the fault, if its certificate is why.
pub(crate) type Rejected = (AssociationRJ, Option<Fault>);

/// Decides on a request. `certificate`: what the peer came with, SHA-256 (DER); `None` where there is no TLS.
///
/// # Errors
/// What the peer is told; `dicom.sender_unknown`.
pub(crate) fn negotiate(
    rq: &AssociationRQ,
    titles: &Titles,
    certificate: Option<&[u8; 32]>,
) -> Result<(Agreed, AssociationAC), Rejected> {
    let no = |reason| Err((refusal(reason), None));
    // Bit 0 is version 1; a peer may know others as well (PS3.8 table 9-11).
    if rq.protocol_version & 1 == 0 {
        return no(Reason::NoReasonGiven);
    }
    if rq.application_context_name.trim_matches(['\0', ' ']) != APPLICATION_CONTEXT {
        return no(Reason::ApplicationContextNameNotSupported);
    }
    // Before the peer's own title is looked at: what is said of that would tell another organization's device that the
    // title it calls is there.
    certified(rq, titles, certificate).map_err(|(rj, fault)| (rj, Some(fault)))?;
    let Some(ae) = titles.called(&rq.called_ae_title) else {
        return no(Reason::CalledAETitleNotRecognized);
    };
    if !ae.calling.is_empty() && !ae.calling.contains(rq.calling_ae_title.as_str()) {
        return no(Reason::CallingAETitleNotRecognized);
    }
    let mut contexts = BTreeMap::new();
    let answers = rq.presentation_contexts.iter().map(|p| {
        let class = p.abstract_syntax.trim_matches(['\0', ' ']);
        let proposed: Vec<&str> = p.transfer_syntaxes.iter().map(|t| t.trim_matches(['\0', ' '])).collect();
        let (reason, syntax) = match uids::choose(&proposed) {
            _ if class != VERIFICATION && !uids::stored(class) => {
                (PresentationContextResultReason::AbstractSyntaxNotSupported, None)
            }
            None => (PresentationContextResultReason::TransferSyntaxesNotSupported, None),
            chosen => (PresentationContextResultReason::Acceptance, chosen),
        };
        if let Some(syntax) = syntax {
            contexts.insert(p.id, Context { class: class.to_owned(), syntax: syntax.to_owned() });
        }
        // Of a refused context the transfer syntax means nothing, and has to be there (PS3.8 9.3.3.2).
        PresentationContextResult { id: p.id, reason, transfer_syntax: syntax.unwrap_or(uids::IMPLICIT_LE).to_owned() }
    });
    let ac = AssociationAC {
        protocol_version: 1,
        presentation_contexts: answers.collect(),
        // PS3.8 table 9-17: these are echoed.
        calling_ae_title: rq.calling_ae_title.clone(),
        called_ae_title: rq.called_ae_title.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_PDU),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_NAME.to_owned()),
        ],
    };
    Ok((Agreed { org: ae.org.clone(), contexts, peer_max_pdu: peer_max_pdu(rq) }, ac))
}

/// Whether the peer may call this title as what it is: decided by its certificate, by SHA-256 (DER); `None` where there is
/// no TLS.
///
/// The refusals are those of PS3.8 9.3.4, table 9-21. Whoever comes with a certificate of another organization is told
/// what it would be told of a title that is not there.
///
/// # Errors
/// What the peer is told, and `dicom.sender_unknown`.
fn certified(
    rq: &AssociationRQ,
    titles: &Titles,
    certificate: Option<&[u8; 32]>,
) -> Result<(), (AssociationRJ, Fault)> {
    let Some(ae) = titles.called(&rq.called_ae_title) else { return Ok(()) };
    let (reason, why) = match (certificate, certificate.and_then(|c| titles.owner(c))) {
        (Some(c), Some(Some(owner))) if *owner == ae.org => match ae.certificates.get(c) {
            Some(its) if !its.is_empty() && !its.contains(rq.calling_ae_title.as_str()) => {
                (Reason::CallingAETitleNotRecognized, "is not for the title that the peer has")
            }
            _ => return Ok(()),
        },
        (_, Some(_)) => (Reason::CalledAETitleNotRecognized, "is another organization's"),
        (_, None) if ae.certificates.is_empty() => return Ok(()),
        (_, None) => (Reason::CallingAETitleNotRecognized, "is nobody's"),
    };
    let hex = certificate.map_or_else(|| "(none)".to_owned(), hex::encode);
    let detail = format!("calling {}: certificate {hex} {why}", ae.org);
    Err((refusal(reason), Fault::new(FaultCode::DicomSenderUnknown, detail)))
}

/// 0 is "no limit" (PS3.8 D.1.1); answers are short, so a small limit would only be a mistake of the peer's.
fn peer_max_pdu(rq: &AssociationRQ) -> u32 {
    let said = rq.user_variables.iter().find_map(|v| match v {
        UserVariableItem::MaxLength(n) if *n > 0 => Some(*n),
        _ => None,
    });
    said.unwrap_or(MAXIMUM_PDU_SIZE).max(MINIMUM_PDU_SIZE)
}

fn refusal(reason: Reason) -> AssociationRJ {
    AssociationRJ { result: AssociationRJResult::Permanent, source: AssociationRJSource::ServiceUser(reason) }
}

/// There are too many associations: come again.
pub(crate) fn too_many() -> AssociationRJ {
    let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    AssociationRJ {
        result: AssociationRJResult::Transient,
        source: AssociationRJSource::ServiceProviderPresentation(reason),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::config::Ae;
    use super::*;
    use dicom_ul::pdu::PresentationContextProposed;

    pub(crate) const ECG: &str = "1.2.840.10008.5.1.4.1.1.9.1.1";

    pub(crate) fn titles() -> Titles {
        let ae = |org: &str, called: &str, calling: &[&str]| Ae {
            org: OrgId::parse(org).unwrap(),
            called: called.into(),
            calling: calling.iter().map(|s| (*s).to_owned()).collect(),
            certificates: BTreeMap::new(),
        };
        Titles::new(vec![ae("st-mary", "MARY", &[]), ae("uni-clinic", "UNI", &["CART 7"])])
    }

    pub(crate) fn request(called: &str, calling: &str, contexts: &[(u8, &str, &[&str])]) -> AssociationRQ {
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: calling.into(),
            called_ae_title: called.into(),
            application_context_name: APPLICATION_CONTEXT.into(),
            presentation_contexts: contexts
                .iter()
                .map(|(id, class, syntaxes)| PresentationContextProposed {
                    id: *id,
                    abstract_syntax: (*class).into(),
                    transfer_syntaxes: syntaxes.iter().map(|s| (*s).to_owned()).collect(),
                })
                .collect(),
            user_variables: vec![UserVariableItem::MaxLength(16_384)],
        }
    }

    fn decided(rq: &AssociationRQ) -> Result<(Agreed, AssociationAC), AssociationRJ> {
        negotiate(rq, &titles(), None).map_err(|(rj, fault)| {
            assert_eq!(fault, None);
            rj
        })
    }

    #[test]
    fn titles_say_whose_it_is_and_who_may() {
        let rq = |called, calling| decided(&request(called, calling, &[])).map(|(a, _)| a.org.to_string());
        assert_eq!(rq("MARY", "ANYONE"), Ok("st-mary".into()));
        assert_eq!(rq("UNI", "CART 7"), Ok("uni-clinic".into()));
        assert_eq!(rq("UNI", "CART 8"), Err(refusal(Reason::CallingAETitleNotRecognized)));
        assert_eq!(rq("mary", "X"), Err(refusal(Reason::CalledAETitleNotRecognized)));
        assert_eq!(rq("", "X"), Err(refusal(Reason::CalledAETitleNotRecognized)));
    }

    /// Every peer at every title: certificates of A (one of them for one title only), of B, of nobody, and none at all.
    #[test]
    fn a_certificate_says_whose_it_is() {
        use super::super::config::Ae;
        let org = |s: &str| leadline_domain::OrgId::parse(s).unwrap();
        let ae = |name: &str, called: &str, certificates: &[([u8; 32], &[&str])]| Ae {
            org: org(name),
            called: called.into(),
            calling: Default::default(),
            certificates: certificates.iter().map(|(c, t)| (*c, t.iter().map(|t| (*t).to_owned()).collect())).collect(),
        };
        let (any, one, of_b, nobodys) = ([1; 32], [2; 32], [3; 32], [4; 32]);
        let titles = Titles::new(vec![
            ae("org-a", "AAA", &[(any, &[]), (one, &["CART7"])]),
            ae("org-b", "BBB", &[(of_b, &[])]),
            ae("org-c", "CCC", &[]),
        ]);
        let told = |called: &str, calling: &str, c: Option<[u8; 32]>| {
            let said = certified(&request(called, calling, &[]), &titles, c.as_ref());
            said.map_err(|(rj, fault)| {
                assert_eq!(fault.code, FaultCode::DicomSenderUnknown);
                rj
            })
        };
        let (called, calling) =
            (Err(refusal(Reason::CalledAETitleNotRecognized)), Err(refusal(Reason::CallingAETitleNotRecognized)));
        for (title, device, certificate, wanted) in [
            ("AAA", "X", Some(any), &Ok(())),
            ("AAA", "CART7", Some(one), &Ok(())),
            ("AAA", "X", Some(one), &calling),
            ("AAA", "X", Some(of_b), &called),
            ("AAA", "X", Some(nobodys), &calling),
            ("AAA", "X", None, &calling),
            ("BBB", "CART7", Some(one), &called),
            ("BBB", "X", Some(any), &called),
            // Who names no certificates takes whom the root lets in, and still nobody who is somebody else.
            ("CCC", "X", Some(nobodys), &Ok(())),
            ("CCC", "X", None, &Ok(())),
            ("CCC", "X", Some(of_b), &called),
        ] {
            assert_eq!(&told(title, device, certificate), wanted, "{title} {device} {certificate:?}");
        }
    }

    /// Whatever title it gives itself, a device of another organization hears the same of a title that is there and of
    /// one that is not.
    #[test]
    fn titles_of_others_cannot_be_probed() {
        let ae = |org: &str, called: &str, certificate: [u8; 32]| Ae {
            org: OrgId::parse(org).unwrap(),
            called: called.into(),
            calling: ["CART 7".to_owned()].into(),
            certificates: [(certificate, [].into())].into(),
        };
        let (of_a, of_b) = ([1; 32], [2; 32]);
        let titles = Titles::new(vec![ae("org-a", "AAA", of_a), ae("org-b", "BBB", of_b)]);
        let told = |called: &str, calling: &str, c: [u8; 32]| {
            let said = negotiate(&request(called, calling, &[]), &titles, Some(&c));
            said.map(|(agreed, _)| agreed.org.to_string()).map_err(|(rj, fault)| (rj, fault.map(|f| f.code)))
        };
        let unknown = Some(FaultCode::DicomSenderUnknown);
        for calling in ["CART 7", "CART 8"] {
            let none = told("NONE", calling, of_b).unwrap_err();
            assert_eq!(none, (refusal(Reason::CalledAETitleNotRecognized), None));
            assert_eq!(told("AAA", calling, of_b).unwrap_err(), (none.0, unknown), "{calling}");
        }
        assert_eq!(told("AAA", "CART 7", of_a), Ok("org-a".into()));
        assert_eq!(told("AAA", "CART 8", of_a), Err((refusal(Reason::CallingAETitleNotRecognized), None)));
    }

    #[test]
    fn contexts_are_answered_one_by_one() {
        let ct = "1.2.840.10008.5.1.4.1.1.2";
        let jpeg = "1.2.840.10008.1.2.4.50";
        let rq = request(
            "MARY",
            "X",
            &[
                (1, ECG, &[uids::IMPLICIT_LE, uids::EXPLICIT_LE]),
                (3, ct, &[uids::IMPLICIT_LE]),
                (5, ECG, &[jpeg]),
                (7, VERIFICATION, &[uids::IMPLICIT_LE]),
            ],
        );
        let (agreed, ac) = decided(&rq).unwrap();
        let reasons: Vec<_> = ac.presentation_contexts.iter().map(|p| (p.id, p.reason.clone() as u8)).collect();
        assert_eq!(reasons, [(1, 0), (3, 3), (5, 4), (7, 0)]);
        assert_eq!(agreed.contexts.keys().copied().collect::<Vec<_>>(), [1, 7]);
        assert_eq!(agreed.contexts[&1].syntax, uids::EXPLICIT_LE);
        assert_eq!(agreed.peer_max_pdu, 16_384);
    }

    #[test]
    fn another_version_or_context_is_refused() {
        let mut rq = request("MARY", "X", &[]);
        rq.application_context_name = "1.2".into();
        assert_eq!(decided(&rq), Err(refusal(Reason::ApplicationContextNameNotSupported)));
        rq.protocol_version = 2;
        assert_eq!(decided(&rq), Err(refusal(Reason::NoReasonGiven)));
    }
}
