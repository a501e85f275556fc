//! Value representations, and what stands in their place.

/// Value representations with a 32-bit length (PS3.5 section 7.1.2).
pub(super) fn long_form(vr: [u8; 2]) -> bool {
    matches!(&vr, b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV")
}

/// Value representations (PS3.5 section 6.2).
pub(super) fn is_type(vr: [u8; 2]) -> bool {
    const SHORT: &[[u8; 2]] = &[
        *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"PN", *b"SH",
        *b"SL", *b"SS", *b"ST", *b"TM", *b"UI", *b"UL", *b"US",
    ];
    long_form(vr) || SHORT.contains(&vr)
}

/// Whether an element whose type is no letters has one that writers put for none: blanks, zero bytes, dashes, question
/// marks. Its length has 16 bits. The same byte all over the tag is no element.
pub(super) fn is_blank(element: &[u8]) -> bool {
    let mark = element[4];
    matches!(mark, b' ' | 0 | b'-' | b'?') && element[5] == mark && element[..4].iter().any(|byte| *byte != mark)
}
