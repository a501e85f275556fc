"""Sends DICOM objects with pynetdicom and prints the status of each: dicom_store.py PORT KIND[,KIND...] FILE"""

import io
import sys

from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def send(port, kind, path):
    dataset = dcmread(path)
    if kind in ("image", "report"):
        dataset.SOPClassUID = CTImageStorage if kind == "image" else ComprehensiveSRStorage
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    syntax = SYNTAXES.get(kind, ExplicitVRLittleEndian)
    dataset.file_meta.TransferSyntaxUID = syntax
    # The values are as they were read until the data set is written and read in the new syntax.
    written = io.BytesIO()
    implicit = syntax == ImplicitVRLittleEndian
    dcmwrite(written, dataset, implicit_vr=implicit, little_endian=True, force_encoding=True)
    dataset = dcmread(io.BytesIO(written.getvalue()))
    if kind == "mismatch":
        # pynetdicom takes the UIDs of the command from the data set: let them differ on the way.
        from pynetdicom import dimse_primitives

        real = dimse_primitives.C_STORE.AffectedSOPInstanceUID
        dimse_primitives.C_STORE.AffectedSOPInstanceUID = property(
            real.fget, lambda self, value: real.fset(self, "1.2.3.4")
        )
    entity = AE(ae_title="CART7")
    entity.add_requested_context(dataset.SOPClassUID, syntax)
    association = entity.associate("127.0.0.1", port, ae_title="MARY")
    if not association.is_established:
        return "not accepted"
    try:
        return f"{association.send_c_store(dataset).Status:04X}"
    finally:
        association.release()


if __name__ == "__main__":
    port, kinds, path = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]
    for each in kinds:
        print(each, send(port, each, path))
