//! `leadline inspect --set`: files that belong together, and one verdict on them.

use super::inspect::{Judged, Line, facts, look};
use leadline_formats::sets::{Name, Role, SetRule, SetVerdict, WfdbFiles, group, wfdb_members, wfdb_verdict};
use leadline_formats::wfdb::{AnnotationCheck, Annotations, Header, SampleCheck, SampleSums, SignalFile};
use leadline_formats::{Evidence, Format, Inspection, Part, Verdict};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Files that are judged together. The first member is the one that the set is named after.
pub(crate) struct Set {
    members: Vec<(PathBuf, Role)>,
    /// Its folder has markers, and none is for this set; or it is a marker for nothing.
    waits: bool,
    header: Option<Header>,
    folder: Arc<Folder>,
}

impl Set {
    pub(crate) fn name(&self) -> PathBuf {
        self.members[0].0.clone()
    }

    fn of(members: Vec<(PathBuf, Role)>, folders: &mut HashMap<PathBuf, Arc<Folder>>) -> Self {
        let path = members[0].0.parent().map(Path::to_owned).unwrap_or_default();
        let folder = folders.entry(path.clone()).or_insert_with(|| Arc::new(Folder { path, names: OnceLock::new() }));
        Self { waits: false, header: read_header(&members[0].0), folder: folder.clone(), members }
    }

    fn has(&self, path: &Path) -> bool {
        self.members.iter().any(|(other, _)| other == path)
    }
}

/// A folder, and the names in it by what they are without regard to case, which are read when they are asked for.
struct Folder {
    path: PathBuf,
    names: OnceLock<HashMap<String, PathBuf>>,
}

impl Folder {
    /// The file beside a header that the header names. A name may lead anywhere, to a device that never ends or into
    /// another folder: only a regular file in the same folder is read.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let mut parts = Path::new(name).components();
        let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else { return None };
        let path = self.path.join(name);
        if path.is_file() {
            return Some(path);
        }
        // Shares do not tell upper from lower case, and neither does the lifecycle.
        let names = self.names.get_or_init(|| self.list());
        names.get(&name.to_lowercase()).filter(|path| path.is_file()).cloned()
    }

    fn header(&self, record: &str) -> Option<PathBuf> {
        self.file(&format!("{record}.hea"))
    }

    fn list(&self) -> HashMap<String, PathBuf> {
        let path = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        let mut names: Vec<_> =
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        // Of several, the first by name.
        names.sort_by(|a, b| b.cmp(a));
        names.iter().filter_map(|name| Some((name.to_str()?.to_lowercase(), self.path.join(name)))).collect()
    }
}

const MARKER: &str = "done";
/// A header is read whole; larger ones are judged as a file.
const HEADER: u64 = 1 << 20;

fn is_marker(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(MARKER))
}

/// Groups files, by their names and by what the WFDB headers among them say.
pub(crate) fn sets(files: &[PathBuf]) -> Vec<Set> {
    let (markers, files): (Vec<_>, Vec<_>) = files.iter().partition(|path| is_marker(path));
    let stem = |primary: &str, optional: &str| SetRule::Stem {
        primary: vec![primary.into()],
        required: Vec::new(),
        optional: vec![optional.into()],
    };
    let rules = [SetRule::Wfdb { folder: false }, stem("xml", "pdf"), stem("ecg", "ann")];
    let names: Vec<Name> = files.iter().filter_map(|path| path.to_str()).map(Name::new).collect();
    let grouped = group(&names, &rules)
        .into_iter()
        .map(|unit| unit.members.into_iter().map(|member| (PathBuf::from(member.path), member.role)).collect());
    // Rules compare texts. A name that is none stands for itself, or two such names would be taken for one.
    let others: BTreeSet<&PathBuf> = files.iter().copied().filter(|path| path.to_str().is_none()).collect();
    let alone = others.into_iter().map(|path| vec![(path.clone(), Role::Primary)]);
    let mut folders = HashMap::new();
    let mut sets: Vec<Option<Set>> = grouped.chain(alone).map(|members| Some(Set::of(members, &mut folders))).collect();
    join_records(&mut sets);
    let mut sets: Vec<Set> = sets.into_iter().flatten().collect();
    mark(&mut sets, &markers, &mut folders);
    sets
}

fn read_header(path: &Path) -> Option<Header> {
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("hea"));
    if !named || !std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= HEADER) {
        return None;
    }
    Header::parse(&std::fs::read(path).ok()?).ok()
}

/// Records take the files that their headers name, and those of several segments the sets of these.
fn join_records(sets: &mut [Option<Set>]) {
    let mut places: HashMap<PathBuf, usize> = HashMap::new();
    for (i, set) in sets.iter().enumerate() {
        places.extend(set.iter().flat_map(|set| &set.members).map(|(path, _)| (path.clone(), i)));
    }
    let segmented = |set: &Option<Set>| set.as_ref().and_then(|s| s.header.as_ref()).map(|h| !h.segments.is_empty());
    for turn in [false, true] {
        for i in 0..sets.len() {
            if segmented(&sets[i]) != Some(turn) {
                continue;
            }
            let Some(mut set) = sets[i].take() else { continue };
            let folder = set.folder.clone();
            for name in set.header.as_ref().map(wfdb_members).unwrap_or_default() {
                let Some(path) = folder.file(&name) else { continue };
                match places.get(&path).copied() {
                    _ if set.has(&path) => {}
                    Some(other) if sets[other].as_ref().is_some_and(|other| other.members[0].0 == path) => {
                        let taken = sets[other].take().map(|other| other.members).unwrap_or_default();
                        for (path, role) in taken {
                            places.insert(path.clone(), i);
                            set.members.push((path, if role == Role::Primary { Role::Required } else { role }));
                        }
                    }
                    // Another record has it as well, or it lies beside the header and was not asked for.
                    _ => set.members.push((path, Role::Required)),
                }
            }
            sets[i] = Some(set);
        }
    }
}

/// Gives each set its markers: `a.xml.done`, or `a.done` for every set whose primary file has that stem. Where a folder
/// has markers, every set in it waits for one.
fn mark(sets: &mut Vec<Set>, markers: &[&PathBuf], known: &mut HashMap<PathBuf, Arc<Folder>>) {
    let folders: HashSet<_> = markers.iter().filter_map(|marker| marker.parent()).collect();
    for set in sets.iter_mut() {
        set.waits = set.members[0].0.parent().is_some_and(|folder| folders.contains(folder));
    }
    let mut places: HashMap<PathBuf, BTreeSet<usize>> = HashMap::new();
    for (i, set) in sets.iter().enumerate() {
        for (path, role) in &set.members {
            places.entry(path.clone()).or_default().insert(i);
            if *role == Role::Primary {
                places.entry(path.with_extension("")).or_default().insert(i);
            }
        }
    }
    for marker in markers {
        match places.get(&marker.with_extension("")) {
            Some(released) => {
                for i in released {
                    sets[*i].waits = false;
                    sets[*i].members.push(((*marker).clone(), Role::Marker));
                }
            }
            None => sets.push(Set { waits: true, ..Set::of(vec![((*marker).clone(), Role::Marker)], known) }),
        }
    }
    sets.sort_by(|a, b| a.members[0].0.cmp(&b.members[0].0));
}

/// Judges a set: the worst of its members, and what they say of each other.
pub(crate) fn judge(set: &Set) -> Line {
    let mut all = Vec::new();
    for (path, role) in &set.members {
        // A marker says what it says by being there.
        let inspection = if *role == Role::Marker { None } else { Some(member(set, path, *role)?) };
        all.push((path, *role, inspection));
    }
    let primary = all[0].2.clone();
    let mut verdict = SetVerdict::complete();
    if let Some(primary) = &primary {
        primary.evidence.iter().for_each(|fact| verdict.add(primary.verdict, *fact));
    }
    if set.waits {
        verdict.add(Verdict::Partial, Evidence::Missing { part: Part::Companion });
    }
    let (mut vouched, mut layouts) = (HashSet::new(), HashSet::new());
    if let Some(header) = &set.header {
        let disk = &set.folder;
        let judged = wfdb_verdict(header, disk.as_ref());
        judged.evidence.iter().for_each(|fact| verdict.add(judged.verdict, *fact));
        // A line may stand there again and again.
        let records: BTreeSet<&str> = header.segments.iter().map(|segment| segment.record.as_str()).collect();
        let segments = records.into_iter().filter_map(|record| WfdbFiles::header(disk.as_ref(), record));
        let files = segments.flat_map(|header| header.files()).chain(header.files());
        vouched.extend(files.filter_map(|file| disk.file(&file.name)));
        let layout = header.segments.iter().filter(|segment| segment.frames == 0);
        layouts.extend(layout.filter_map(|segment| disk.header(&segment.record)));
    }
    for (path, _, inspection) in all.iter().skip(1) {
        // Samples say nothing by themselves: the header has vouched for them, or not.
        if let Some(i) = inspection
            && i.verdict != Verdict::Complete
            && !vouched.contains(*path)
            // A layout has no samples (header(5)): that it states no count is right.
            && !(layouts.contains(*path) && i.verdict == Verdict::Unverifiable)
        {
            verdict.add(i.verdict, Evidence::Inner { format: i.format, verdict: i.verdict });
        }
    }
    let (format, identity) = primary.map_or((Format::Unknown, Default::default()), |i| (i.format, i.identity));
    let members: Vec<_> = all
        .iter()
        .map(|(path, role, i)| {
            let (format, verdict) = (i.as_ref().map(|i| i.format), i.as_ref().map(|i| i.verdict));
            json!({"file": path.to_string_lossy(), "role": role, "format": format, "verdict": verdict})
        })
        .collect();
    let shown = Inspection { format, verdict: verdict.verdict, evidence: verdict.evidence, identity };
    let name = set.name();
    let count = if all.len() == 1 { "1 file".to_owned() } else { format!("{} files", all.len()) };
    Ok(Judged {
        verdict: shown.verdict,
        text: format!("{} ({count}): {}", name.display(), shown.summary()),
        json: json!({
            "file": name.to_string_lossy(),
            "format": shown.format,
            "verdict": shown.verdict,
            "evidence": facts(&shown.evidence),
            "identity": shown.identity,
            "members": members,
        }),
    })
}

/// What a member is. Beside a WFDB header an annotation list can be told to be closed.
fn member(set: &Set, path: &Path, role: Role) -> io::Result<Inspection> {
    let mut inspection = look(path)?;
    if set.header.is_some() && role == Role::Optional && inspection.format == Format::Unknown {
        let mut check = AnnotationCheck::default();
        stream(path, |bytes| check.push(bytes))?;
        if check.finish() == Annotations::Closed {
            inspection.verdict = Verdict::Complete;
            inspection.evidence.clear();
        }
    }
    Ok(inspection)
}

fn stream(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 256 << 10];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            read => each(&block[..read]),
        }
    }
}

impl WfdbFiles for Folder {
    fn header(&self, record: &str) -> Option<Header> {
        read_header(&self.header(record)?)
    }

    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums> {
        let mut check = SampleCheck::new(file, frames.unwrap_or(0));
        stream(&self.file(&file.name)?, |bytes| check.push(bytes)).ok()?;
        Some(check.finish())
    }
}
