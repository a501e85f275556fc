//! WFDB record sets (PhysioNet, header(5) and signal(5) of the WFDB Applications Guide): the header, the arithmetic
//! of its signal files, and the check sums of their samples.

mod annotations;
mod header;
mod machine;
mod samples;

pub use annotations::{AnnotationCheck, Annotations};
pub use header::{Header, HeaderError, Segment, SignalFile, SignalSpec};
pub(crate) use machine::{HeaderMachine, recognize};
pub use samples::{SampleCheck, SampleSums};
