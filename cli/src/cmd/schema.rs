//! `leadline schema`.

use crate::exit::{Code, Done};
use crate::output;
use leadline_domain::outcome::{OutcomeEntry, ProcessorReport};
use leadline_domain::{IngestMessage, LedgerEntry};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which schema.
    #[arg(value_enum)]
    which: Which,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// The message on the ingest queue.
    Message,
    /// The entry on the audit queue.
    Entry,
    /// The processor's report on the outcome queue.
    Outcome,
    /// The audit entry of such a report.
    OutcomeEntry,
    /// An environment file.
    Environment,
    /// An organization file.
    Organization,
    /// The gateway's HTTP, as an OpenAPI document.
    Openapi,
}

pub(crate) fn run(a: &Args) -> Done {
    let schema = match a.which {
        Which::Message => IngestMessage::schema(),
        Which::Entry => schemars::schema_for!(LedgerEntry).to_value(),
        Which::Outcome => ProcessorReport::json_schema(),
        Which::OutcomeEntry => schemars::schema_for!(OutcomeEntry).to_value(),
        Which::Environment => schemars::schema_for!(leadline_provisioning::config::Environment).to_value(),
        Which::Organization => schemars::schema_for!(leadline_provisioning::config::OrganizationFile).to_value(),
        Which::Openapi => leadline_gateway::http::openapi::openapi(),
    };
    output::line(&serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(Code::Ok)
}
