//! `leadline transfer`: copies or moves recordings between an organization's own storages.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::engine::Engine;
use leadline_domain::transfer::{Selection, Storage, Transfer, TransferReport};
use leadline_domain::{EnvId, Fault, FaultCode, OrgId, RecordingId};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// From this storage of the organization: data, processing or archive.
    #[arg(long)]
    from: String,
    /// To this one.
    #[arg(long)]
    to: String,
    /// Only recordings whose digest begins with these hexadecimal digits.
    #[arg(long, value_name = "HEX", conflicts_with = "recording")]
    prefix: Option<String>,
    /// Only this recording: its id, as in its message.
    #[arg(long, value_name = "ID")]
    recording: Option<String>,
    /// Remove from the first storage what is in the second, verified. From processing only: data and archive keep what
    /// they have.
    #[arg(long = "move")]
    moved: bool,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let org = site.config().organization(&a.env, &a.org).ok_or_else(|| super::org::unknown(&a.org, &a.env))?;
    let transfer = Transfer {
        org: a.org.clone(),
        from: Storage::parse(&a.from)?,
        to: Storage::parse(&a.to)?,
        selection: selection(&a)?,
        moved: a.moved,
    };
    // Also decided where the work is done; here it costs nothing.
    transfer.allowed(&org.storage.names())?;
    let engine = Engine::new(site.temporal().await?);
    let doing = if a.moved { "moving" } else { "copying" };
    output::note(&format!("{doing} from {} to {}; a worker of {} does it", a.from, a.to, a.env));
    let report = engine.transfer(&site.environment().scope().main_queue(), &a.env, &transfer).await?;
    match g.output {
        Format::Json => output::json(&report),
        Format::Text => output::line(&summary(&report)),
    }
    Ok(if report.copied + report.there == 0 && a.recording.is_some() { Code::NotWell } else { Code::Ok })
}

fn selection(a: &Args) -> Result<Selection, Failure> {
    match (&a.prefix, &a.recording) {
        (Some(p), _) => Ok(Selection::prefix(p)?),
        (None, None) => Ok(Selection::All),
        (None, Some(id)) => match RecordingId::parts_of(id) {
            Some((org, digest)) if org == a.org => Ok(Selection::One(digest)),
            Some(_) => Err(Fault::new(FaultCode::TransferRefused, "the recording is another organization's").into()),
            None => Err(Failure::command("a recording's id is ORGANIZATION.SHA256, as in its message")),
        },
    }
}

fn summary(r: &TransferReport) -> String {
    let removed = if r.removed > 0 { format!("; {} removed where they were", r.removed) } else { String::new() };
    format!(
        "{} recordings copied, {}; {} were there already; all verified by digest{removed}",
        r.copied,
        output::bytes(r.bytes),
        r.there
    )
}
