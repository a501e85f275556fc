//! `leadline processor`: a stand-in for the processor, for tests and demonstrations. It sees what a processor sees: the
//! message. Recordings it cannot read: buckets answer to their organization's role only.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::ports::queue::{Incoming, Outgoing, Queue};
use leadline_domain::message::{DATA_SCHEMA, EVENT_TYPE};
use leadline_domain::outcome::{OUTCOME_SCHEMA, ProcessingStatus, ProcessorReport};
use leadline_domain::{Digest, EnvId, IngestMessage, RecordingId};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment.
    #[arg(long)]
    env: EnvId,
    /// Consume the ingest queue and report outcomes without processing anything. Never where a processor reads the
    /// queue: the messages would be gone.
    #[arg(long, required = true)]
    simulate: bool,
    /// Which part of the recordings fails, 0 to 1. The same recordings each time.
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION")]
    failing: f64,
    /// Stop when the queue is empty.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    if !(0.0..=1.0).contains(&a.failing) {
        return Err(Failure::command("--failing is between 0 and 1"));
    }
    let deps = Site::load(g, &a.env)?.deps().await?;
    output::note(if a.once { "processing what waits" } else { "processing; stop with ^C" });
    loop {
        let done = tokio::select! {
            done = batch(g, &*deps.ingest_queue, &*deps.outcomes.queue, &a) => done?,
            _ = tokio::signal::ctrl_c() => return Ok(Code::Ok),
        };
        if done == 0 && a.once {
            return Ok(Code::Ok);
        }
    }
}

/// Reports on up to ten recordings, then takes their messages off the queue. Returns how many messages there were.
async fn batch(g: &Global, ingest: &dyn Queue, reports: &dyn Queue, a: &Args) -> Result<usize, Failure> {
    let received = ingest.receive(10, if a.once { 1 } else { 20 }).await?;
    // What is no message of ours stays: after some receives it is a dead letter, as with any processor.
    let all: Vec<(&Incoming, ProcessorReport)> =
        received.iter().filter_map(|m| Some((m, report(&m.body, a.failing)?))).collect();
    let messages: Vec<Outgoing> = all
        .iter()
        .map(|(_, r)| Outgoing { body: r.to_json(), dedup_id: r.report.clone(), group_id: String::new() })
        .collect();
    let sent = if messages.is_empty() { Vec::new() } else { reports.send(&messages).await };
    let mut over = Vec::new();
    for ((message, r), sent) in all.iter().zip(sent) {
        sent?;
        over.push(message.receipt.clone());
        match g.output {
            Format::Json => output::json(r),
            Format::Text => output::line(&format!("{:<10} {}", r.status.as_str(), r.recording)),
        }
    }
    if !over.is_empty() {
        ingest.delete(&over).await?;
    }
    if over.len() < received.len() {
        output::note(&format!("{} messages are none that the schema knows", received.len() - over.len()));
    }
    Ok(received.len())
}

/// The report on a message; all of it follows from the message, so that one that is delivered twice is reported on once.
fn report(body: &str, failing: f64) -> Option<ProcessorReport> {
    let m: IngestMessage = serde_json::from_str(body).ok()?;
    let (_, digest) = RecordingId::parts_of(&m.id)?;
    if m.event_type != EVENT_TYPE || m.dataschema != DATA_SCHEMA || m.data.sha256 != digest {
        return None;
    }
    let b = digest.as_bytes();
    let place = f64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])) / f64::from(u32::MAX);
    let fails = place < failing;
    Some(ProcessorReport {
        schema: OUTCOME_SCHEMA.into(),
        report: format!("sim-{}", &Digest::of(m.id.as_bytes()).to_hex()[..32]),
        recording: m.id,
        status: if fails { ProcessingStatus::Failed } else { ProcessingStatus::Processed },
        reason: fails.then(|| "simulated.failure".to_owned()),
        processor: "leadline-simulation/1".into(),
        time: m.time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_follows_from_the_message() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/ingest-message.v1.example.json");
        let body = std::fs::read_to_string(path).unwrap();
        let good = report(&body, 0.0).unwrap();
        assert_eq!(good, report(&body, 0.0).unwrap());
        assert!(ProcessorReport::parse(&good.to_json()).is_ok());
        assert_eq!(report(&body, 1.0).unwrap().status, ProcessingStatus::Failed);
        assert!(ProcessorReport::parse(&report(&body, 1.0).unwrap().to_json()).is_ok());
        assert!(report("{}", 0.0).is_none());
        assert!(report(&body.replace(":v1", ":v2"), 0.0).is_none());
    }
}
