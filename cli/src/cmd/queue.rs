//! `leadline queue`.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done};
use crate::output::{self, Format};
use leadline_domain::EnvId;

/// Which queue.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Which {
    /// Messages for the processor.
    Ingest,
    /// Audit entries.
    Audit,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Numbers of messages waiting and in flight.
    Depth {
        /// Environment.
        #[arg(long)]
        env: EnvId,
    },
    /// Receive messages, as a consumer does; they come back unless deleted.
    Receive {
        /// Environment.
        #[arg(long)]
        env: EnvId,
        /// Which queue.
        #[arg(long, value_enum, default_value = "ingest")]
        queue: Which,
        /// At most this many.
        #[arg(long, default_value_t = 10)]
        max: usize,
        /// Delete what was received: for tests and demonstrations, never where a processor reads the queue.
        #[arg(long)]
        delete: bool,
    },
}

pub(crate) async fn run(g: &Global, c: Command) -> Done {
    match c {
        Command::Depth { env } => {
            let deps = Site::load(g, &env)?.deps().await?;
            let (ingest, audit) = (deps.ingest_queue.depth().await?, deps.audit_queue.depth().await?);
            match g.output {
                Format::Json => output::json(&serde_json::json!({
                    "ingest": {"waiting": ingest.0, "in_flight": ingest.1},
                    "audit": {"waiting": audit.0, "in_flight": audit.1},
                })),
                Format::Text => output::table(
                    &["QUEUE", "WAITING", "IN FLIGHT"],
                    &[
                        vec!["ingest".into(), ingest.0.to_string(), ingest.1.to_string()],
                        vec!["audit".into(), audit.0.to_string(), audit.1.to_string()],
                    ],
                ),
            }
        }
        Command::Receive { env, queue, max, delete } => {
            let deps = Site::load(g, &env)?.deps().await?;
            let q = match queue {
                Which::Ingest => &deps.ingest_queue,
                Which::Audit => &deps.audit_queue,
            };
            let mut left = max;
            while left > 0 {
                let got = q.receive(u32::try_from(left.min(10)).unwrap_or(10), 1).await?;
                if got.is_empty() {
                    break;
                }
                left -= got.len().min(left);
                for m in &got {
                    output::line(&m.body);
                }
                if delete {
                    q.delete(&got.into_iter().map(|m| m.receipt).collect::<Vec<_>>()).await?;
                }
            }
        }
    }
    Ok(Code::Ok)
}
