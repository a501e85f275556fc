#!/usr/bin/env python3
"""Reads synthesized recordings with other people's readers.

    eval "$(script/bootstrap --test --print-env)"
    cargo run -p leadline-formats --example synth_all -- DIR SEED
    "$LEADLINE_TOOLS/bin/python" script/check-synth.py DIR

script/test does this.

Every file in DIR is checked by the reader of its format, and its samples are compared with those of the CSV export
of the same recording (same stem). Where the commands are installed, these read along:

    save2gdf (Debian: biosig-tools)          SCP-ECG, EDF, BDF
    dciodvfy (dicom3tools), dcmdump (dcmtk)  DICOM
    pdfinfo, pdftoppm (poppler-utils), mutool (mupdf-tools)  PDF

A missing command is named, and fails the run with --all. Exit status: 0 all checks passed, 1 a check failed,
2 nothing to check.
"""

import argparse
import base64
import binascii
import csv
import hashlib
import io
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import ishneholterlib
import numpy as np
import pydicom
import pyedflib
import pypdf
import wfdb
from lxml import etree
from pydicom.sr.codedict import codes

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
HL7 = "{urn:hl7-org:v3}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


class Failed(Exception):
    pass


class Report:
    """Counts what was checked, and by whom."""

    def __init__(self):
        self.failures = 0
        self.missing = set()

    def run(self, name, check, *args):
        try:
            note = check(*args)
            print(f"ok    {name}: {note}")
        except Exception as error:  # any exception of a reader is a finding
            self.failures += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}")

    def command(self, *argv):
        """Output of a command, or None if it is not installed."""
        if shutil.which(argv[0]) is None:
            self.missing.add(argv[0])
            return None
        done = subprocess.run([str(a) for a in argv], capture_output=True, timeout=120, check=False)
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        need(done.returncode == 0, f"{argv[0]} exited with {done.returncode}: {text[-400:]}")
        return text


REPORT = Report()


def need(condition, message):
    if not condition:
        raise Failed(message)


def same(found, truth, leads, what):
    """Compares samples, shape (samples, leads), with the columns of the CSV export."""
    expected = np.stack([truth[lead] for lead in leads], axis=1)
    found = np.asarray(found)
    need(found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}")
    worst = np.abs(found - expected).max()
    need(worst < 0.01, f"{what}: samples differ by up to {worst} uV")


def read_csv(path):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    head, body = rows[0], rows[1:]
    need(head[0] == "time_ms" and head[1:] == LEADS[: len(head) - 1], f"heading {head}")
    table = np.array(body, dtype=float)
    steps = np.diff(table[:, 0])
    truth = {lead: table[:, i + 1] for i, lead in enumerate(head[1:])}
    rate = 1000.0 / steps.mean()
    return truth, head[1:], round(rate)


def check_einthoven(truth):
    if "III" in truth:
        need((truth["III"] == truth["II"] - truth["I"]).all(), "III != II - I")
    if "aVR" in truth:
        need((truth["aVR"] == -(truth["I"] + truth["II"]) / 2).all(), "aVR != -(I + II) / 2")
    if "aVL" in truth:
        need((truth["aVL"] == truth["I"] - truth["II"] / 2).all(), "aVL != I - II / 2")
    if "aVF" in truth:
        need((truth["aVF"] == truth["II"] - truth["I"] / 2).all(), "aVF != II - I / 2")
    return f"{len(truth)} leads, {len(next(iter(truth.values())))} samples, limb leads agree"


def strict_dicom(path):
    # Warnings of pydicom are violations of PS3.5 that it can live with; here they are failures.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
        data = pydicom.dcmread(path)
        str(data)  # decodes every value
    text = REPORT.command("dciodvfy", path)
    errors = [line for line in (text or "").splitlines() if line.startswith("Error")]
    need(not errors, f"dciodvfy: {errors}")
    REPORT.command("dcmdump", "-q", path)
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    need(out.getvalue()[132:] == path.read_bytes()[132:] or data == pydicom.dcmread(io.BytesIO(out.getvalue())),
         "does not survive being written again")
    return data


def known_codes(items, context_group):
    """Every code is in the context group of PS3.16, with the meaning given there."""
    group = getattr(codes, f"cid{context_group}").concepts.values()
    known = {(code.value, code.scheme_designator, code.meaning) for code in group}
    for item in items:
        code = (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)
        need(code in known, f"{code} is not in CID {context_group}")


def check_dicom(path, truth, leads, rate):
    data = strict_dicom(path)
    need(data.SOPClassUID.name in ("12-lead ECG Waveform Storage", "General ECG Waveform Storage"), data.SOPClassUID.name)
    need(data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID, "SOP instance UIDs differ")
    group = data.WaveformSequence[0]
    need(float(group.SamplingFrequency) == rate, f"rate {group.SamplingFrequency}")
    labels = [c.ChannelSourceSequence[0].CodeMeaning for c in group.ChannelDefinitionSequence]
    for label, lead in zip(labels, leads, strict=True):
        need(lead in label.replace(",", "").split(), f"{label} for {lead}")
    sources = [c.ChannelSourceSequence[0] for c in group.ChannelDefinitionSequence]
    known_codes(sources, 3001)
    known_codes([a.ConceptNameCodeSequence[0] for a in data.WaveformAnnotationSequence if "NumericValue" in a], 3228)
    known_codes([data.AcquisitionContextSequence[0].ConceptCodeSequence[0]], 3263)
    # pydicom scales by sensitivity; the unit is uV.
    same(data.waveform_array(0), truth, leads, "waveform")
    return f"{data.SOPClassUID.name}, {len(labels)} channels"


def check_dicom_pdf(path):
    data = strict_dicom(path)
    need(data.SOPClassUID.name == "Encapsulated PDF Storage", data.SOPClassUID.name)
    need(data.MIMETypeOfEncapsulatedDocument == "application/pdf", "MIME type")
    document = data.EncapsulatedDocument[: data.EncapsulatedDocumentLength]
    return f"Encapsulated PDF, {check_pdf_bytes(document)}"


def check_pdf_bytes(document):
    need(document.startswith(b"%PDF-") and document.rstrip().endswith(b"%%EOF"), "not framed as a PDF")
    reader = pypdf.PdfReader(io.BytesIO(document), strict=True)
    need(len(reader.pages) == 1, f"{len(reader.pages)} pages")
    text = reader.pages[0].extract_text()
    need("mm/mV" in text and "Rate" in text, f"text of the page: {text!r}")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "report.pdf")
        path.write_bytes(document)
        info = REPORT.command("pdfinfo", path)
        need(info is None or "Error" not in info, f"pdfinfo: {info}")
        drawn = REPORT.command("mutool", "draw", "-q", "-o", Path(scratch, "mutool.png"), path) or ""
        # Debian builds mutool without colour management, and it says so about every file.
        said = [line for line in drawn.splitlines() if line.strip() and "ICC support" not in line]
        need(not said, f"mutool: {said}")
        said = REPORT.command("pdftoppm", "-r", "40", path, Path(scratch, "page"))
        if said is not None:
            need("Error" not in said, f"pdftoppm: {said}")
            check_ink(next(Path(scratch).glob("page*.ppm")).read_bytes())
    return f"PDF, {len(document)} bytes"


def check_ink(ppm):
    """The rendered page has a pink grid and a black trace, and neither covers everything."""
    _, size, _, pixels = ppm.split(b"\n", 3)
    width, height = map(int, size.split())
    image = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3).astype(int)
    dark = (image.max(axis=2) < 140).mean()
    pink = ((image[:, :, 0] - image[:, :, 1]) > 15).mean()
    need(0.002 < dark < 0.2, f"{dark:.1%} of the page is dark")
    need(0.2 < pink < 0.9, f"{pink:.1%} of the page is grid")


def strict_xml(path):
    parser = etree.XMLParser(recover=False, load_dtd=False, no_network=True, resolve_entities=False, huge_tree=True)
    return etree.parse(str(path), parser)


def check_aecg(path, truth, leads, rate):
    root = strict_xml(path).getroot()
    need(root.tag == HL7 + "AnnotatedECG", root.tag)
    sequences = root.findall(f".//{HL7}sequence")
    increment = sequences[0].find(f"{HL7}value/{HL7}increment")
    need(abs(float(increment.get("value")) * rate - 1) < 1e-9, increment.get("value"))
    columns, codes = [], []
    for sequence in sequences[1:]:
        codes.append(sequence.find(HL7 + "code").get("code"))
        value = sequence.find(HL7 + "value")
        need(value.get(XSI + "type") == "SLIST_PQ", "value type")
        scale = float(value.find(HL7 + "scale").get("value"))
        columns.append(np.array(value.find(HL7 + "digits").text.split(), dtype=int) * scale)
    need(codes == [f"MDC_ECG_LEAD_{lead.upper()}" for lead in leads], codes)
    same(np.stack(columns, axis=1), truth, leads, "digits")
    return f"{len(codes)} sequences"


def check_muse(path, truth, leads, rate):
    document = strict_xml(path)
    root = document.getroot()
    need(root.tag == "RestingECG", root.tag)
    need(document.docinfo.encoding.upper() == "ISO-8859-1", document.docinfo.encoding)
    need(document.docinfo.system_url == "restecg.dtd", document.docinfo.system_url)
    columns, names = [], []
    for waveform in root.findall("Waveform"):
        rhythm = waveform.findtext("WaveformType") == "Rhythm"
        for lead in waveform.findall("LeadData"):
            raw = base64.b64decode("".join(lead.findtext("WaveFormData").split()), validate=True)
            need(len(raw) == int(lead.findtext("LeadByteCountTotal")), "byte count")
            need(len(raw) == 2 * int(lead.findtext("LeadSampleCountTotal")), "sample count")
            need(binascii.crc32(raw) == int(lead.findtext("LeadDataCRC32")), "CRC-32")
            if rhythm:
                names.append(lead.findtext("LeadID"))
                scale = float(lead.findtext("LeadAmplitudeUnitsPerBit"))
                columns.append(np.frombuffer(raw, "<i2") * scale)
        need(int(waveform.findtext("SampleBase")) == rate, "rate")
    need(names == [lead for lead in leads if lead not in ("III", "aVR", "aVL", "aVF")], names)
    same(np.stack(columns, axis=1), truth, names, "rhythm")
    return f"{len(names)} stored leads"


def check_edf(path, truth, leads, rate):
    # edflib, the library below, checks every field of the header and refuses what EDF+ does not allow.
    with pyedflib.EdfReader(str(path)) as reader:
        kind = {pyedflib.FILETYPE_EDFPLUS: "EDF+", pyedflib.FILETYPE_BDFPLUS: "BDF+"}[reader.filetype]
        need(reader.getSignalLabels() == [f"ECG {lead}" for lead in leads], reader.getSignalLabels())
        need((reader.getSampleFrequencies() == rate).all(), "rate")
        need({reader.getPhysicalDimension(i) for i in range(len(leads))} == {"uV"}, "unit")
        columns = [reader.readSignal(i) for i in range(len(leads))]
        _, _, texts = reader.readAnnotations()
        need(len(texts) == 1 and "Sinus rhythm" in texts[0], f"annotations {texts}")
        reader.getStartdatetime()
    same(np.stack(columns, axis=1), truth, leads, "signals")
    return f"{kind}, {len(columns)} signals"


def check_wfdb(path, truth, leads, rate):
    record = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
    need(record.sig_name == leads and record.fs == rate, "names or rate")
    digital = record.d_signal.astype(np.int64)
    same(digital, truth, leads, "signals")
    stated, computed = (np.array(c) % 65536 for c in (record.checksum, record.calc_checksum()))
    need((stated == computed).all(), f"checksums {stated}, computed {computed}")
    need((digital[0] == record.init_value).all(), "initial values")
    physical = wfdb.rdrecord(str(path.with_suffix("")))
    need(set(physical.units) == {"mV"}, physical.units)
    same(physical.p_signal * 1000, truth, leads, "physical signals")
    beats = wfdb.rdann(str(path.with_suffix("")), "atr")
    need(set(beats.symbol) <= {"N"}, beats.symbol)
    for at in beats.sample if "II" in leads else []:
        window = truth["II"][max(0, at - rate // 10) : at + rate // 10]
        need(window.max() > 0.5 * truth["II"].max(), f"no R wave near sample {at}")
    return f"{record.n_sig} signals, {len(beats.sample)} beats"


def crc_ccitt(data):
    return binascii.crc_hqx(data, 0xFFFF)


def biosig_header(path):
    """What save2gdf says about a file, as JSON."""
    text = REPORT.command("save2gdf", "-JSON", path)
    return None if text is None else json.loads(text[text.index("{") : text.rindex("}") + 1])


def check_biosig(path, truth, leads, rate):
    header = biosig_header(path)
    if header is None:
        return "save2gdf is not installed"
    need(header["Samplingrate"] == rate, f"rate {header['Samplingrate']}")
    need(header["NumberOfSamples"] == len(truth[leads[0]]), f"samples {header['NumberOfSamples']}")
    # EDF annotations may show as one more channel.
    channels = [c for c in header["CHANNEL"] if "Annotation" not in c["Label"]]
    need(len(channels) == len(leads), f"{len(channels)} channels")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out.gdf")
        REPORT.command("save2gdf", "-f=GDF", path, out)
        found = read_gdf(out.read_bytes())
    same(found[:, : len(leads)], truth, leads, "samples by biosig")
    return f"biosig reads {header['TYPE']}, {len(leads)} channels"


def read_gdf(data):
    """The samples of a GDF 2 file (biosig's own format) with equal rates, in uV."""
    channels = struct.unpack_from("<H", data, 252)[0]
    head_blocks = struct.unpack_from("<H", data, 184)[0]
    records = struct.unpack_from("<q", data, 236)[0]
    fixed = data[256 : 256 * (1 + channels)]

    def column(offset, kind):
        size = struct.calcsize(kind)
        return [struct.unpack_from("<" + kind, fixed, offset * channels + i * size)[0] for i in range(channels)]

    units = column(102, "H")
    phys_min, phys_max = column(104, "d"), column(112, "d")
    dig_min, dig_max = column(120, "d"), column(128, "d")
    per_record, kinds = column(216, "I"), column(220, "I")
    codes = {3: "<i2", 5: "<i4", 16: "<f4", 17: "<f8", 1: "i1", 2: "u1", 279: "i3"}
    # Physical dimension codes of ISO/IEEE 11073-10101: volts are 4256 plus a decimal factor.
    factors = {4256: 1e6, 4274: 1e3, 4275: 1.0, 4276: 1e-3}
    at, columns = head_blocks * 256, [[] for _ in range(channels)]
    for _ in range(records):
        for i in range(channels):
            kind = codes[kinds[i]]
            if kind == "i3":
                raw = np.frombuffer(data, np.uint8, 3 * per_record[i], at).reshape(-1, 3).astype(np.int32)
                values = raw[:, 0] | raw[:, 1] << 8 | raw[:, 2] << 16
                values = np.where(values >= 1 << 23, values - (1 << 24), values)
                at += 3 * per_record[i]
            else:
                values = np.frombuffer(data, kind, per_record[i], at)
                at += values.nbytes
            gain = (phys_max[i] - phys_min[i]) / (dig_max[i] - dig_min[i])
            columns[i].append(((values - dig_min[i]) * gain + phys_min[i]) * factors.get(units[i], 1.0))
    lengths = {sum(map(len, c)) for c in columns}
    need(len(lengths) == 1, f"channels of different lengths {lengths}")
    return np.stack([np.concatenate(c) for c in columns], axis=1)


def check_scp(path, truth, leads, rate):
    data = path.read_bytes()
    crc, size = struct.unpack_from("<HI", data)
    need(size == len(data) and crc == crc_ccitt(data[2:]), "record length or CRC")
    for entry in range(22, 142, 10):
        number, length, index = struct.unpack_from("<HII", data, entry)
        if length:
            section = data[index - 1 : index - 1 + length]
            found, number_again, length_again = struct.unpack_from("<HHI", section)
            need(found == crc_ccitt(section[2:]), f"CRC of section {number}")
            need((number_again, length_again) == (number, length), f"header of section {number}")
    return "checksums agree; " + check_biosig(path, truth, leads, rate)


def check_ishne(path, truth, leads, rate):
    data = path.read_bytes()
    need(data[:8] == b"ISHNE1.0", "magic")
    variable, count, _, offset = struct.unpack_from("<iiii", data, 10)
    need(struct.unpack_from("<H", data, 8)[0] == crc_ccitt(data[10:offset]), "CRC")
    need(offset == 522 + variable and len(data) == offset + 2 * count * len(leads), "size")
    found = np.frombuffer(data, "<i2", offset=offset).reshape(count, len(leads))
    same(found, truth, leads, "samples")
    # biosig 2.5 is left out here: it drops the last 4 KiB of any ISHNE file.
    holter = ishneholterlib.Holter(str(path), check_valid=False)
    # Its own checksum code needs a numpy before 2.3; the CRC was compared above.
    need(holter.is_valid(verify_checksum=False), "ishneholterlib calls it invalid")
    holter.load_data()
    need(holter.sr == rate, f"rate {holter.sr}")
    names = [lead.spec_str() for lead in holter.lead]
    need(names == leads, names)
    same(np.stack([lead.data for lead in holter.lead], axis=1) * 1000, truth, leads, "samples by ishneholterlib")
    return f"header CRC agrees; ishneholterlib reads {len(names)} leads"


def check_hl7(path):
    data = path.read_bytes()
    need(b"\n" not in data and b"\0" not in data and data.endswith(b"\r"), "segment ends")
    segments = [s.split("|") for s in data.decode("utf-8").rstrip("\r").split("\r")]
    names = [s[0] for s in segments]
    need(names[:5] == ["MSH", "PID", "PV1", "ORC", "OBR"], names)
    need(segments[0][8] == "ORU^R01^ORU_R01" and segments[0][11] == "2.5.1", segments[0])
    need(segments[4][25] in ("F", "C"), "OBR-25")
    document = next(s for s in segments if s[:1] == ["OBX"] and s[2] == "ED")
    source, kind, subtype, encoding, body = document[5].split("^")
    need((kind, subtype, encoding) == ("application", "pdf", "Base64") and source, document[5][:60])
    return f"{len(segments)} segments, {check_pdf_bytes(base64.b64decode(body, validate=True))}"


def check_fhir(path):
    report = json.loads(path.read_text(encoding="utf-8"))
    need(report["resourceType"] == "DiagnosticReport" and report["status"] in ("final", "amended"), "resource")
    form = report["presentedForm"][0]
    document = base64.b64decode(form["data"], validate=True)
    need(form["size"] == len(document), "size")
    need(base64.b64decode(form["hash"]) == hashlib.sha1(document).digest(), "hash")
    return f"DiagnosticReport, {check_pdf_bytes(document)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--all", action="store_true", help="fail when an optional command is missing")
    args = parser.parse_args()
    tables = sorted(args.directory.glob("*.csv"))
    if not tables:
        print(f"no CSV export in {args.directory}", file=sys.stderr)
        return 2
    for table in tables:
        truth, leads, rate = read_csv(table)
        stem = table.with_suffix("")
        REPORT.run(table.name, check_einthoven, truth)
        with_samples = [
            (".dcm", check_dicom), ("-aecg.xml", check_aecg), ("-muse.xml", check_muse), (".scp", check_scp),
            (".edf", check_edf), (".edf", check_biosig), (".bdf", check_edf), (".bdf", check_biosig),
            (".ecg", check_ishne), (".hea", check_wfdb),
        ]
        alone = [
            ("-report.dcm", check_dicom_pdf), (".hl7", check_hl7), (".json", check_fhir),
            (".pdf", lambda p: check_pdf_bytes(p.read_bytes())),
        ]
        for suffix, check, extra in [(s, c, (truth, leads, rate)) for s, c in with_samples] + [(s, c, ()) for s, c in alone]:
            path = Path(f"{stem}{suffix}")
            if path.exists():
                REPORT.run(path.name, check, path, *extra)
            else:
                print(f"      {path.name}: not there")
    for command in sorted(REPORT.missing):
        print(f"      {command} is not installed: its checks were left out")
    if args.all and REPORT.missing:
        return 1
    return 1 if REPORT.failures else 0


if __name__ == "__main__":
    sys.exit(main())
