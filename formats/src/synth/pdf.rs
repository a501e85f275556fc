//! A printout: ISO 32000-1 (PDF 1.4 features only), one A4 page in landscape.
//!
//! The trace is drawn at 25 mm/s on a grid of 1 and 5 mm. A recording of twelve leads has the usual arrangement,
//! three rows of four leads for 2.5 s each above a rhythm strip of lead II at 10 mm/mV; fewer leads have a row each.

use std::fmt::Write as _;

use super::spec::{Sex, Spec, SynthError};
use super::text::{latin1, put};
use super::waveform::{Lead, Waveform};

/// Points in a millimetre.
const MM: f64 = 72.0 / 25.4;
/// Paper speed, mm/s.
const SPEED: f64 = 25.0;
/// The grid in millimetres of the page, from its lower left corner: 260 x 150 mm fit an A4 sheet with a heading.
const GRID: (f64, f64, f64, f64) = (18.0, 12.0, 260.0, 150.0);
/// Millimetres at the left edge of the grid that the calibration pulse takes.
const LEAD_IN: f64 = 7.0;
/// How much fits on the page, seconds.
const PAGE_SECONDS: f64 = 10.0;
/// Coordinates of the traces are whole numbers of this unit, millimetres: the drawing stays small.
const UNIT: f64 = 0.025;

/// Writes the printout of the first ten seconds.
///
/// The content stream is not compressed, which keeps the bytes independent of a compressor's version. The pair of
/// identifiers in the trailer (14.4) has the recording first and its revision second.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let mut page = String::with_capacity(200_000);
    grid(&mut page);
    traces(&mut page, &waveform);
    heading(&mut page, spec, &waveform);
    Ok(document(spec, &latin1(&page)))
}

/// Objects, cross-reference table and trailer (7.5).
fn document(spec: &Spec, content: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = b"%PDF-1.4\n%\xE2\xE3\xCF\xD3\n".to_vec();
    let created = spec.sent().format("D:%Y%m%d%H%M%SZ").to_string();
    let mut stream = format!("<< /Length {} >>\nstream\n", content.len()).into_bytes();
    stream.extend_from_slice(content);
    stream.extend_from_slice(b"\nendstream");
    let font = |name: &str| {
        format!("<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>").into_bytes()
    };
    let objects: [Vec<u8>; 7] = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 841.89 595.28] /Contents 4 0 R \
          /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>"
            .to_vec(),
        stream,
        font("Helvetica"),
        font("Helvetica-Bold"),
        latin1(&format!(
            "<< /Title ({}) /Producer (leadline synth) /CreationDate ({created}) >>",
            escape(&format!("12-lead ECG {}", spec.accession()))
        )),
    ];
    let mut offsets = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend_from_slice(format!("{} 0 obj\n", n + 1).as_bytes());
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    let xref = out.len();
    // Every entry is exactly twenty bytes (7.5.4), hence the space before the line feed.
    let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        put(&mut tail, format_args!("{offset:010} 00000 n \n"));
    }
    let first = spec.uuid_bits("pdf");
    let second = spec.uuid_bits(&format!("pdf revision {}", spec.revision));
    put(
        &mut tail,
        format_args!(
            "trailer\n<< /Size {} /Root 1 0 R /Info 7 0 R /ID [<{first:032X}> <{second:032X}>] >>\nstartxref\n{xref}\n%%EOF\n",
            objects.len() + 1
        ),
    );
    out.extend_from_slice(tail.as_bytes());
    out
}

/// Escapes a literal string (7.3.4.2).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn grid(page: &mut String) {
    let (left, bottom, width, height) = GRID;
    for (pitch, line, colour) in [(1.0, 0.15, "1 0.82 0.82"), (5.0, 0.45, "0.96 0.62 0.62")] {
        put(page, format_args!("{colour} RG {line} w\n"));
        let lines = |length: f64| (0..=(length / pitch) as u32).map(move |i| f64::from(i) * pitch);
        for x in lines(width) {
            let x = (left + x) * MM;
            put(page, format_args!("{x:.2} {:.2} m {x:.2} {:.2} l\n", bottom * MM, (bottom + height) * MM));
        }
        for y in lines(height) {
            let y = (bottom + y) * MM;
            put(page, format_args!("{:.2} {y:.2} m {:.2} {y:.2} l\n", left * MM, (left + width) * MM));
        }
        page.push_str("S\n");
    }
}

/// One stretch of one lead.
struct Strip {
    lead: Lead,
    row: usize,
    /// Seconds of the recording.
    from: f64,
    to: f64,
}

/// What goes where, the number of rows and the gain in mm/mV.
fn layout(waveform: &Waveform) -> (Vec<Strip>, usize, f64) {
    let length = (waveform.samples() as f64 / f64::from(waveform.sample_rate_hz())).min(PAGE_SECONDS);
    let leads: Vec<Lead> = waveform.leads().iter().map(|(lead, _)| *lead).collect();
    if leads.len() == Lead::ALL.len() {
        let quarter = PAGE_SECONDS / 4.0;
        let mut strips: Vec<Strip> = leads
            .iter()
            .enumerate()
            .map(|(i, &lead)| {
                let from = (i / 3) as f64 * quarter;
                Strip { lead, row: i % 3, from, to: (from + quarter).min(length) }
            })
            .filter(|strip| strip.to > strip.from)
            .collect();
        strips.push(Strip { lead: Lead::II, row: 3, from: 0.0, to: length });
        return (strips, 4, 10.0);
    }
    let rows = leads.len();
    let strips = leads.iter().enumerate().map(|(row, &lead)| Strip { lead, row, from: 0.0, to: length }).collect();
    (strips, rows, if rows > 4 { 5.0 } else { 10.0 })
}

fn traces(page: &mut String, waveform: &Waveform) {
    let (left, bottom, _, height) = GRID;
    let (strips, rows, gain) = layout(waveform);
    let pitch = height / rows as f64;
    let baseline = |row: usize| bottom + height - (row as f64 + 0.55) * pitch;
    // From here on a unit is UNIT millimetres.
    put(page, format_args!("q {0:.6} 0 0 {0:.6} 0 0 cm 0 0 0 RG 10 w 1 j 1 J\n", UNIT * MM));
    let at = |mm: f64| libm::round(mm / UNIT) as i64;
    for row in 0..rows {
        // The calibration pulse: 1 mV for 0.2 s.
        let (x, y) = (left, baseline(row));
        let corners = [(0.5, 0.0), (1.0, 0.0), (1.0, gain), (6.0, gain), (6.0, 0.0), (6.5, 0.0)];
        for (i, (dx, dy)) in corners.iter().enumerate() {
            put(page, format_args!("{} {} {}\n", at(x + dx), at(y + dy), if i == 0 { 'm' } else { 'l' }));
        }
        page.push_str("S\n");
    }
    let rate = f64::from(waveform.sample_rate_hz());
    // A point every 0.1 mm or so: a printer shows no more, and the file stays small at high rates.
    let stride = ((0.1 / (SPEED / rate)) as usize).max(1);
    for strip in &strips {
        let Some(samples) = waveform.lead(strip.lead) else { continue };
        let (first, last) = ((strip.from * rate) as usize, ((strip.to * rate) as usize).min(samples.len()));
        for n in (first..last).step_by(stride) {
            let x = left + LEAD_IN + n as f64 / rate * SPEED;
            let y = baseline(strip.row) + f64::from(samples[n]) / 1000.0 * gain;
            put(page, format_args!("{} {} {}\n", at(x), at(y), if n == first { 'm' } else { 'l' }));
        }
        page.push_str("S\n");
        if strip.from > 0.0 {
            // A tick where one lead gives way to the next.
            let x = left + LEAD_IN + strip.from * SPEED;
            let y = baseline(strip.row);
            put(page, format_args!("{0} {1} m {0} {2} l S\n", at(x), at(y + 6.0), at(y + 10.0)));
        }
    }
    page.push_str("Q\n");
    for strip in &strips {
        let lift = if rows > 4 { 3.0 } else { 13.0 };
        let x = left + LEAD_IN + strip.from * SPEED + 1.5;
        text(page, "F2", 9.0, x, baseline(strip.row) + lift, strip.lead.name());
    }
    let scale = format!("{SPEED} mm/s   {gain} mm/mV   0.05-150 Hz");
    text(page, "F1", 8.0, left, bottom - 5.0, &scale);
}

/// One line of text; position in millimetres, size in points.
fn text(page: &mut String, font: &str, size: f64, x: f64, y: f64, line: &str) {
    let line = escape(line);
    put(page, format_args!("BT 0 0 0 rg /{font} {size} Tf {:.2} {:.2} Td ({line}) Tj ET\n", x * MM, y * MM));
}

fn heading(page: &mut String, spec: &Spec, waveform: &Waveform) {
    let (left, bottom, width, height) = GRID;
    let top = bottom + height + 34.0;
    let measured = waveform.intervals();
    let mut person = vec!["Anonymous".to_owned()];
    if let Some(p) = &spec.patient {
        person = vec![format!("{}, {}", p.family, p.given), format!("ID: {}", p.id)];
        let mut born = String::new();
        if let Some(birth) = p.birth {
            // Writing to a string cannot fail.
            let _ = write!(born, "{}   ", birth.format("%d %b %Y"));
        }
        born.push_str(match p.sex {
            Sex::Female => "female",
            Sex::Male => "male",
            Sex::Unknown => "sex unknown",
        });
        if let Some(age) = spec.age_years() {
            put(&mut born, format_args!("   {age} years"));
        }
        person.push(born);
    }
    person.push(spec.start.format("%d %b %Y  %H:%M:%S").to_string());
    let numbers = [
        format!("Rate  {} /min", measured.rate),
        format!("PR  {} ms", measured.pr),
        format!("QRS  {} ms", measured.qrs),
        format!("QT / QTc  {} / {} ms", measured.qt, measured.qtc),
    ];
    let device = [
        format!("{} {}", spec.manufacturer, spec.model),
        format!("Serial: {}", spec.device_serial),
        format!("Order: {}", spec.accession()),
    ];
    for (i, line) in person.iter().enumerate() {
        let (font, size) = if i == 0 { ("F2", 12.0) } else { ("F1", 9.0) };
        text(page, font, size, left, top - 5.5 * i as f64, line);
    }
    for (i, line) in numbers.iter().enumerate() {
        text(page, "F1", 9.0, left + 90.0, top - 5.5 * i as f64, line);
    }
    for (i, line) in device.iter().enumerate() {
        text(page, "F1", 9.0, left + 160.0, top - 5.5 * i as f64, line);
    }
    text(page, "F2", 9.0, left, top - 26.0, &spec.interpretation());
    text(page, "F1", 8.0, left + width - 40.0, bottom - 5.0, "Unconfirmed, synthetic");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(bytes: &[u8], needle: &[u8]) -> usize {
        bytes.windows(needle.len()).position(|w| w == needle).unwrap()
    }

    #[test]
    fn the_cross_reference_table_points_at_the_objects() {
        let bytes = write(&Spec::new(15)).unwrap();
        assert!(bytes.ends_with(b"%%EOF\n"));
        let xref = position(&bytes, b"xref\n0 8\n");
        let table = std::str::from_utf8(&bytes[xref..]).unwrap();
        let entries: Vec<&str> = table.lines().skip(2).take(8).collect();
        for (n, entry) in entries.iter().enumerate().skip(1) {
            assert_eq!(entry.len(), 19);
            let offset: usize = entry[..10].parse().unwrap();
            assert!(bytes[offset..].starts_with(format!("{n} 0 obj").as_bytes()));
        }
        assert!(table.contains(&format!("startxref\n{xref}\n")));
    }

    #[test]
    fn stream_length_and_escapes_hold() {
        let mut spec = Spec { leads: 3, ..Spec::new(16) };
        if let Some(p) = &mut spec.patient {
            p.family = "Open(".to_owned();
            p.given = "Zo\u{eb}\\".to_owned();
        }
        let bytes = write(&spec).unwrap();
        position(&bytes, b"(Open\\(, Zo\xeb\\\\) Tj");
        let start = position(&bytes, b"\nstream\n") + 8;
        let end = position(&bytes, b"\nendstream");
        position(&bytes, format!("/Length {} >>", end - start).as_bytes());
    }

    #[test]
    fn short_and_odd_recordings_have_a_page() {
        for (leads, seconds) in [(12, 1), (1, 1), (11, 60), (12, 600)] {
            let spec = Spec { leads, seconds, sample_rate_hz: 100, ..Spec::new(17) };
            assert!(write(&spec).unwrap().ends_with(b"%%EOF\n"), "{leads} {seconds}");
        }
    }
}
