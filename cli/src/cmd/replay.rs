//! `leadline replay`.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done};
use crate::output::{self, Format};
use leadline_activities::replay::replay;
use leadline_domain::EnvId;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// The most histories of each kind of workflow, the latest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Replays histories of the environment with this very program: what would break running workflows shows here.
pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let (replayed, differ) = replay(&site.temporal().await?, a.limit).await?;
    for d in &differ {
        match g.output {
            Format::Json => output::json(d),
            Format::Text => output::line(&format!("{} does not replay: {}", d.workflow, d.why)),
        }
    }
    output::note(&format!("{replayed} histories replayed, {} differ", differ.len()));
    Ok(if differ.is_empty() { Code::Ok } else { Code::NotWell })
}
