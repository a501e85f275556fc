//! Which files belong together.

use serde::{Deserialize, Serialize};

/// One convention of a share. Extensions are given without the dot; case does not matter.
///
/// ```
/// use leadline_formats::sets::SetRule;
///
/// let rule: SetRule = serde_json::from_str(r#"{"kind":"stem","primary":["xml"],"required":["pdf"]}"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SetRule {
    /// A WFDB record: a `.hea` file and every file with its stem (signals, annotations).
    Wfdb {
        /// One folder holds one record, whatever its files are called: a record of several segments, or one whose signal
        /// files bear another name than its header.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        folder: bool,
    },
    /// Files with one stem: `a.xml` and `a.pdf`, `a.ecg` and `a.ann`.
    Stem {
        /// Extensions of the file that the set is named after.
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        primary: Vec<String>,
        /// Extensions that must be there too.
        #[serde(default)]
        required: Vec<String>,
        /// Extensions that belong to the set when they are there.
        #[serde(default)]
        optional: Vec<String>,
    },
    /// Files of fixed names in one folder, such as `patient.hea` and `ecgraw.dat`.
    Folder {
        /// The file that the set is named after.
        primary: String,
        /// Names that must be there too.
        #[serde(default)]
        required: Vec<String>,
        /// Names that belong to the set when they are there.
        #[serde(default)]
        optional: Vec<String>,
    },
    /// A file is done when a marker file exists.
    Marker {
        /// Extensions of the files that wait for a marker; none means every file.
        #[serde(default)]
        primary: Vec<String>,
        /// Extension of the marker, such as `done`.
        marker: String,
        /// Whether the marker is named `a.xml.done` (true) or `a.done` (false).
        #[serde(default)]
        appended: bool,
    },
}
