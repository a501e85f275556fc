//! Files that hold files: ZIP, GZIP and tar. What they hold is inspected one level deep, for its identity.

pub(crate) mod gzip;
pub(crate) mod members;
pub(crate) mod tar;
pub(crate) mod zip;
mod zip_entry;
