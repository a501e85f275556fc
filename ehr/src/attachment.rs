//! Documents inside messages: decoded, held against what was declared, and looked at.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use leadline_domain::{Fault, FaultCode};
use leadline_formats::{Inspection, Verdict};
use sha1::{Digest as _, Sha1};

/// Senders differ in padding; what the bits say beyond the last byte does not matter either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 (RFC 4648 section 4), with white space wherever it likes to be.
///
/// # Errors
/// `attachment.unreadable`.
pub fn base64(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let bad = |_| Fault::new(FaultCode::AttachmentUnreadable, "it is not base64");
    if text.iter().any(u8::is_ascii_whitespace) {
        let dense: Vec<u8> = text.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
        return BASE64.decode(dense).map_err(bad);
    }
    BASE64.decode(text).map_err(bad)
}

/// Decodes pairs of hexadecimal digits, with white space between them.
///
/// # Errors
/// `attachment.unreadable`.
pub fn hexadecimal(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let digits: Option<Vec<u8>> = text
        .iter()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits.filter(|d| d.len().is_multiple_of(2));
    let digits = digits.ok_or_else(|| Fault::new(FaultCode::AttachmentUnreadable, "it is not hexadecimal"))?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Holds a document against the size in bytes and the SHA-1 that its sender declared (FHIR R4 section 2.24.0.8:
/// `Attachment.size`, and `Attachment.hash` in base64).
///
/// # Errors
/// `attachment.unreadable`.
pub fn declared(content: &[u8], size: Option<u64>, hash: Option<&str>) -> Result<(), Fault> {
    let other = |what| Err(Fault::new(FaultCode::AttachmentUnreadable, format!("its {what} is not the declared one")));
    if size.is_some_and(|size| size != content.len() as u64) {
        return other("size");
    }
    match hash.map(|hash| base64(hash.as_bytes())) {
        Some(Ok(hash)) if hash == Sha1::digest(content).as_slice() => Ok(()),
        Some(_) => other("hash"),
        None => Ok(()),
    }
}

/// Refuses a document that is certainly not whole. One that cannot tell is accepted: the lifecycle decides.
///
/// # Errors
/// `attachment.unreadable` for an empty one, `attachment.incomplete` for one that ends early, contradicts its own format
/// or looks padded.
pub fn whole(content: &[u8]) -> Result<Inspection, Fault> {
    if content.is_empty() {
        return Err(Fault::new(FaultCode::AttachmentUnreadable, "it is empty"));
    }
    let found = leadline_formats::inspect_bytes(content);
    let how = match found.verdict {
        Verdict::Complete | Verdict::Unverifiable => return Ok(found),
        Verdict::Partial => "ends early",
        Verdict::Malformed => "contradicts its own format",
        Verdict::Suspect => "looks padded or preallocated",
    };
    Err(Fault::new(FaultCode::AttachmentIncomplete, format!("the {} {how}", found.format.label())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_line_ends_and_without_padding() {
        assert_eq!(base64(b"aGVs\r\nbG8=").unwrap(), b"hello");
        assert_eq!(base64(b"aGVsbG8").unwrap(), b"hello");
        let fault = base64(b"Doe^John").unwrap_err();
        assert_eq!((fault.code, fault.detail.as_str()), (FaultCode::AttachmentUnreadable, "it is not base64"));
    }

    #[test]
    fn hexadecimal_is_read_in_pairs() {
        assert_eq!(hexadecimal(b"48 65\n6C6c6f").unwrap(), b"Hello");
        assert!(hexadecimal(b"486").is_err() && hexadecimal(b"zz").is_err());
    }

    #[test]
    fn what_was_declared_must_be() {
        // `printf hello | openssl sha1 -binary | base64`
        assert_eq!(declared(b"hello", Some(5), Some("qvTGHdzF6KLavt4PO0gs2a6pQ00=")), Ok(()));
        assert_eq!(declared(b"hello", Some(6), None).unwrap_err().detail, "its size is not the declared one");
        assert!(declared(b"hellO", Some(5), Some("qvTGHdzF6KLavt4PO0gs2a6pQ00=")).is_err());
        assert!(declared(b"hello", None, Some("not base64!")).is_err());
    }

    #[test]
    fn what_is_certainly_short_is_refused_and_what_cannot_tell_is_not() {
        assert_eq!(whole(b"%PDF-1.4\n1 0 obj").unwrap_err().detail, "the PDF ends early");
        assert_eq!(whole(b"").unwrap_err().code, FaultCode::AttachmentUnreadable);
        assert!(whole(b"1,2,3\n4,5,6\n").is_ok());
    }
}
