//! Logs to standard error, human or JSON; the level from `LEADLINE_LOG`.

use crate::output;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How logs are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// # Errors
/// `LEADLINE_LOG` is no level.
pub(crate) fn init(format: LogFormat) -> Result<(), String> {
    // smb2 and the SDKs log paths and requests at their lower levels: PHI must not get in by turning the level up.
    let own = std::env::var("LEADLINE_LOG").unwrap_or_else(|_| "info".into());
    let own: LevelFilter = own
        .parse()
        .map_err(|_| format!("LEADLINE_LOG is \"{own}\", not one of: off, error, warn, info, debug, trace"))?;
    let filter = EnvFilter::new(format!(
        "off,leadline={own},leadline_activities={own},leadline_workflows={own},leadline_gateway={own},temporalio_sdk=warn,temporalio_sdk_core=error"
    ));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::styled(&std::io::stderr()))
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    match format {
        LogFormat::Human => builder.compact().init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).init(),
    }
    Ok(())
}
