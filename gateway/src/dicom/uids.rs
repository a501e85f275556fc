//! The UIDs that matter here (PS3.6 annex A).

/// The application context of DICOM (PS3.7 A.2.1).
pub(crate) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Verification: C-ECHO (PS3.4 annex A).
pub(crate) const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Implicit VR little endian: what every peer has (PS3.5 10.1).
pub(crate) const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR little endian.
pub(crate) const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
/// Deflated explicit VR little endian (PS3.5 A.5).
pub(crate) const DEFLATED_LE: &str = "1.2.840.10008.1.2.1.99";
/// Of this program in file meta information and associations (PS3.7 D.3.3.2: one for all versions).
pub(crate) const IMPLEMENTATION_CLASS: &str = "2.25.941725597855872141039233473115681428";
/// Its name (PS3.7 D.3.3.2: up to 16 characters). Without a version: it is part of what is digested.
pub(crate) const IMPLEMENTATION_NAME: &str = "LEADLINE";

/// 12-lead, general and ambulatory ECG, encapsulated PDF.
const STORED: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.9.1.1",
    "1.2.840.10008.5.1.4.1.1.9.1.2",
    "1.2.840.10008.5.1.4.1.1.9.1.3",
    "1.2.840.10008.5.1.4.1.1.104.1",
];
/// The structured reports are all below it.
const REPORTS: &str = "1.2.840.10008.5.1.4.1.1.88.";

/// Whether objects of this SOP class are taken.
pub(crate) fn stored(class: &str) -> bool {
    STORED.contains(&class) || (class.starts_with(REPORTS) && well_formed(class))
}

/// Whether objects in this transfer syntax are taken.
pub(crate) fn readable(syntax: &str) -> bool {
    [IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE].contains(&syntax)
}

/// Which of the proposed transfer syntaxes is chosen: explicit before implicit, since its values say what they are;
/// deflated only for a peer that can nothing else.
pub(crate) fn choose<'a>(proposed: &[&'a str]) -> Option<&'a str> {
    let find = |want: &str| proposed.iter().copied().find(|p| *p == want);
    find(EXPLICIT_LE).or_else(|| find(IMPLICIT_LE)).or_else(|| find(DEFLATED_LE))
}

/// Digits and dots, at most 64 characters (PS3.5 9.1).
pub(crate) fn well_formed(uid: &str) -> bool {
    (1..=64).contains(&uid.len())
        && uid.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an instance can be told from others by this. Real devices break the rules of PS3.5 9.1, and a recording is
/// not refused for that: the UID is compared and written, no more.
pub(crate) fn usable(uid: &str) -> bool {
    (1..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// A UID without its padding (PS3.5 9.1: one NUL; spaces are a common mistake).
pub(crate) fn trimmed(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().map(|s| s.trim_matches(|c| c == '\0' || c == ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecg_pdf_and_reports_are_stored_and_images_are_not() {
        for yes in ["1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.88.33"] {
            assert!(stored(yes), "{yes}");
        }
        for no in ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.88.x", ""] {
            assert!(!stored(no), "{no}");
        }
    }

    #[test]
    fn explicit_is_preferred_and_nothing_common_is_nothing() {
        assert_eq!(choose(&[IMPLICIT_LE, DEFLATED_LE, EXPLICIT_LE]), Some(EXPLICIT_LE));
        assert_eq!(choose(&[DEFLATED_LE]), Some(DEFLATED_LE));
        assert_eq!(choose(&["1.2.840.10008.1.2.2"]), None);
    }

    #[test]
    fn uids_have_digits_and_dots() {
        assert!(well_formed("1.2.840.03") && !well_formed("1..2") && !well_formed("1.2 ") && !well_formed(""));
        assert!(!well_formed(&"1".repeat(65)));
        assert!(usable("1.2.x-3") && !usable("1 2") && !usable("") && !usable("1\\2") && !usable(&"1".repeat(65)));
        assert_eq!(trimmed(b"1.2\0"), Some("1.2"));
    }
}
