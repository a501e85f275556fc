//! `leadline inspect` as an operator and a program use it.

use leadline_formats::synth::{Spec, SynthFormat};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn leadline(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leadline")).arg("inspect").args(arguments).args(files).output().expect("it runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn keys(line: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Writes a recording in a format and names its files.
fn synth(folder: &Path, format: SynthFormat) -> Vec<PathBuf> {
    let mut spec = Spec::new(3);
    (spec.leads, spec.seconds) = (3, 2);
    let write = |member: &leadline_formats::synth::Member| {
        let path = folder.join(&member.name);
        std::fs::write(&path, &member.bytes).expect("written");
        path
    };
    format.write(&spec).expect("representable").iter().map(write).collect()
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).expect("there");
    std::fs::write(path, &bytes[..bytes.len() - 100]).expect("written");
}

#[test]
fn a_line_a_file_and_a_code_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let dicom = synth(folder.path(), SynthFormat::Dicom).remove(0);
    let scp = synth(&inner, SynthFormat::Scp).remove(0);

    let output = leadline(&[], &[folder.path()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let expected = format!("{}: DICOM waveform: complete\n{}: SCP-ECG: complete\n", dicom.display(), scp.display());
    assert_eq!(text, expected);

    cut(&scp);
    let output = leadline(&["--output", "json"], &[&dicom, &scp]);
    assert_eq!(output.status.code(), Some(3));
    let lines = lines(&output);
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(keys(line), ["evidence", "file", "format", "identity", "verdict"]);
    }
    assert_eq!((&lines[0]["format"], &lines[0]["verdict"]), (&"dicom_waveform".into(), &"complete".into()));
    assert_eq!((&lines[1]["file"], &lines[1]["verdict"]), (&scp.to_str().into(), &"partial".into()));
    assert_eq!(lines[1]["evidence"][0]["fact"]["kind"], "short");
    assert!(lines[1]["evidence"][0]["sentence"].as_str().is_some_and(|s| s.starts_with("The record needs at least")));
}

#[test]
fn what_cannot_be_read_is_told_and_is_not_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let dicom = synth(folder.path(), SynthFormat::Dicom).remove(0);
    let nothing = folder.path().join("nothing");
    let output = leadline(&["--output", "json"], &[&nothing, &dicom]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"), "{output:?}");
    let [unread, read] = &lines(&output)[..] else { panic!("an object for each file: {output:?}") };
    assert_eq!(read["verdict"], "complete");
    assert_eq!(keys(unread), ["error", "evidence", "file", "format", "identity", "verdict"]);
    assert_eq!((&unread["file"], &unread["verdict"]), (&nothing.to_str().into(), &Value::Null));
    assert!(unread["error"].as_str().is_some_and(|e| !e.is_empty()), "{unread}");
    let text = leadline(&[], &[&nothing]);
    assert!(text.stdout.is_empty(), "{text:?}");
    assert_eq!(leadline(&[], &[]).status.code(), Some(64));
}

#[test]
fn a_record_is_judged_with_its_signals() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = synth(folder.path(), SynthFormat::Wfdb);
    let of = |ending: &str| files.iter().find(|p| p.extension().is_some_and(|e| e == ending)).expect("written");

    let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [line] = &lines(&output)[..] else { panic!("one set: {output:?}") };
    assert_eq!(keys(line), ["evidence", "file", "format", "identity", "members", "verdict"]);
    assert_eq!((&line["file"], &line["format"]), (&of("hea").to_str().into(), &"wfdb_header".into()));
    let members = line["members"].as_array().expect("a list");
    assert_eq!(members.len(), files.len());
    assert_eq!((&members[0]["role"], &members[0]["file"]), (&"primary".into(), &line["file"]));

    // The header alone: its signals lie beside it.
    assert_eq!(leadline(&["--set"], &[of("hea")]).status.code(), Some(0));
    cut(of("dat"));
    let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
    assert_eq!((output.status.code(), &lines(&output)[0]["verdict"]), (Some(3), &"partial".into()));
    std::fs::remove_file(of("dat")).expect("removed");
    let output = leadline(&["--set"], &[folder.path()]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("partial. A signal file is missing."), "{output:?}");
}

#[test]
fn a_record_of_several_segments_is_one_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
    // A layout, a gap, and a segment whose header is of another length than the header of the record says at first.
    put("v.hea", b"v/3 1 125 30\nv_layout 0\n~ 10\nv_1 20\n");
    put("v_layout.hea", b"v_layout 1 125 0\n~ 0 200 16 0 0 0 0 II\n");
    put("v_1.dat", &[0; 40]);
    put("v_1.hea", b"v_1 1 125 19\nv_1.dat 16 200 16 0 0 0 0 II\n");
    let output = leadline(&["--set"], &[folder.path()]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("malformed"), "{output:?}");
    put("v_1.hea", b"v_1 1 125 20\nv_1.dat 16 200 16 0 0 0 0 II\n");
    let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
    assert_eq!((output.status.code(), lines(&output).len()), (Some(0), 1), "{output:?}");
    std::fs::remove_file(folder.path().join("v_1.dat")).expect("removed");
    assert_eq!(leadline(&["--set"], &[folder.path()]).status.code(), Some(3));
}

#[test]
fn a_printout_belongs_to_its_recording_and_is_judged_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let xml = folder.path().join("a.xml");
    let pdf = folder.path().join("A.PDF");
    std::fs::rename(synth(folder.path(), SynthFormat::MuseXml).remove(0), &xml).expect("renamed");
    std::fs::rename(synth(folder.path(), SynthFormat::Pdf).remove(0), &pdf).expect("renamed");
    let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines(&output).len(), 1);
    cut(&pdf);
    let output = leadline(&["--set"], &[folder.path()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let expected = format!("{} (2 files): GE MUSE XML: partial. It contains a PDF that is partial.\n", xml.display());
    assert_eq!(text, expected);
}

#[test]
fn where_there_are_markers_every_set_waits_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let scp = synth(folder.path(), SynthFormat::Scp).remove(0);
    let dicom = synth(folder.path(), SynthFormat::Dicom).remove(0);
    assert_eq!(leadline(&["--set"], &[folder.path()]).status.code(), Some(0));
    let marker = |name: &str| std::fs::write(folder.path().join(name), b"").expect("written");
    marker(&format!("{}.done", scp.file_name().and_then(|n| n.to_str()).expect("a name")));
    let verdicts = || -> Vec<String> {
        let all = lines(&leadline(&["--set", "--output", "json"], &[folder.path()]));
        all.iter().map(|line| line["verdict"].as_str().expect("a word").to_owned()).collect()
    };
    // By name: the .dcm file, which has no marker, and the .scp file.
    assert_eq!(verdicts(), ["partial", "complete"]);
    marker(&format!("{}.done", dicom.file_name().and_then(|n| n.to_str()).expect("a name")));
    assert_eq!(verdicts(), ["complete", "complete"]);
    // A marker for a file that is not there.
    marker("zebra.done");
    assert_eq!(verdicts(), ["complete", "complete", "partial"]);
}

/// Opening a pipe would wait for somebody who writes to it.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_passed_over_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let scp = synth(folder.path(), SynthFormat::Scp).remove(0);
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
    std::os::unix::fs::symlink(folder.path(), folder.path().join("round")).expect("a link");
    for arguments in [&[][..], &["--set"]] {
        let output = leadline(arguments, &[folder.path()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains(&format!("{}", scp.display())) && text.lines().count() == 1, "{text}");
        let notes = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(notes.contains("pipe: passed over") && notes.contains("round: passed over"), "{notes}");
    }
    assert_eq!(leadline(&[], &[&scp, &pipe]).status.code(), Some(3), "it was asked for");
}

/// Names on a disk are bytes: two that differ in what is no UTF-8 only are two.
#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_a_set_of_its_own() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let scp = synth(folder.path(), SynthFormat::Scp).remove(0);
    let name = |bytes: &[u8]| folder.path().join(std::ffi::OsStr::from_bytes(bytes));
    std::fs::copy(&scp, name(b"a\xFF.scp")).expect("written");
    std::fs::rename(&scp, name(b"a\xFE.scp")).expect("renamed");
    for broken in [&b"a\xFE.scp"[..], b"a\xFF.scp"] {
        let whole = std::fs::read(name(broken)).expect("there");
        cut(&name(broken));
        let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
        assert_eq!((output.status.code(), lines(&output).len()), (Some(3), 2), "{output:?}");
        std::fs::write(name(broken), whole).expect("written");
    }
    assert_eq!(leadline(&["--set"], &[folder.path()]).status.code(), Some(0));
}

/// A header may name a file elsewhere, or what never ends.
#[cfg(unix)]
#[test]
fn a_header_leads_to_no_file_that_does_not_lie_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let outside = folder.path().join("outside.dat");
    std::fs::write(&outside, [1; 20]).expect("written");
    std::fs::write(folder.path().join("s.hea"), b"s 0 500 10\n").expect("written");
    assert!(Command::new("mkfifo").arg(inner.join("pipe.dat")).status().expect("it runs").success());
    std::os::unix::fs::symlink("/dev/zero", inner.join("zero.dat")).expect("a link");
    let header = inner.join("r.hea");
    let signal = |name: &str| format!("r 1 500 10\n{name} 16\n");
    let all = [
        signal("../outside.dat"),
        signal(outside.to_str().expect("a text")),
        "r/1 1 500 10\n../s 10\n".to_owned(),
        signal("pipe.dat"),
        signal("zero.dat"),
        signal("/dev/zero"),
    ];
    for text in all {
        std::fs::write(&header, &text).expect("written");
        let output = leadline(&["--set", "--output", "json"], &[&header]);
        let [line] = &lines(&output)[..] else { panic!("one set: {output:?}") };
        assert_eq!((&line["verdict"], output.status.code()), (&"partial".into(), Some(3)), "{text}");
        let facts = line["evidence"].as_array().expect("a list");
        assert!(facts.iter().any(|fact| fact["fact"]["kind"] == "missing"), "{line}");
        assert_eq!(line["members"].as_array().map(Vec::len), Some(1), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_is_followed_where_it_was_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    synth(&inner, SynthFormat::Scp);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&inner, &link).expect("a link");
    std::os::unix::fs::symlink(folder.path(), inner.join("round")).expect("a link");
    for arguments in [&["--output", "json"][..], &["--set", "--output", "json"]] {
        let output = leadline(arguments, &[&link]);
        assert_eq!((output.status.code(), lines(&output).len()), (Some(0), 1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("round: passed over"), "{output:?}");
    }
}

/// Names on a share are the same in any case.
#[test]
fn a_header_may_write_names_in_another_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
    put("V.hea", b"v/1 1 125 2\nv_1 2\n");
    put("V_1.HEA", b"v_1 1 125 2\nv_1.dat 16 200 16 0 1 3 0 II\n");
    put("V_1.Dat", &[1, 0, 2, 0]);
    // The header alone: its segment is a member all the same.
    for (named, members) in [(folder.path(), 3), (&folder.path().join("V.hea"), 2)] {
        let output = leadline(&["--set", "--output", "json"], &[named]);
        let [line] = &lines(&output)[..] else { panic!("one set: {output:?}") };
        assert_eq!((output.status.code(), &line["verdict"]), (Some(0), &"complete".into()), "{line}");
        assert_eq!(line["members"].as_array().map(Vec::len), Some(members), "{line}");
    }
    put("V_1.Dat", &[1, 0, 3, 0]);
    assert_eq!(leadline(&["--set"], &[folder.path()]).status.code(), Some(3));
}

#[test]
fn a_marker_of_a_stem_is_for_all_files_of_the_stem() {
    let folder = tempfile::tempdir().expect("a folder");
    for (format, name) in [(SynthFormat::Scp, "a.scp"), (SynthFormat::Dicom, "a.dcm"), (SynthFormat::Pdf, "b.pdf")] {
        std::fs::rename(synth(folder.path(), format).remove(0), folder.path().join(name)).expect("renamed");
    }
    std::fs::write(folder.path().join("a.done"), b"").expect("written");
    let output = leadline(&["--set", "--output", "json"], &[folder.path()]);
    let verdicts: Vec<Value> = lines(&output).iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts, ["complete", "complete", "partial"], "{output:?}");
}
