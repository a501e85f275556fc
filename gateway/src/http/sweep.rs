//! What is left of uploads. Those in parts that nobody goes on with are given up: their parts cost money and no list shows
//! them. Those that have arrived and that neither a client's call nor an event told of are taken in: events go to the dead
//! letters when the engine or a store is out for long, and the bucket's own rule removes what stays.

use super::App;
use super::metrics::METRICS;
use super::uploads::{finish, fits, rules};
use leadline_activities::ports::uploads::ListedObject;
use leadline_domain::{Fault, FaultClass, Ingress, OrgId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an upload may take: a day, for a video over a slow line with a night in between.
pub const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// After this time no call and no event is expected any more.
pub const LEFT: Duration = Duration::from_secs(3600);
/// How often to look.
pub const INTERVAL: Duration = Duration::from_secs(3600);

/// Looks at every interval until `shutdown` ends.
pub async fn run(app: &App, older: Duration, interval: Duration, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        for org in app.directory().uploading() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            match organization(app, &org, now, older).await {
                Ok(0) => {}
                Ok(n) => tracing::info!(%org, n, "abandoned uploads were given up"),
                // The next look will find them too, and the bucket's own rule after seven days.
                Err(fault) => tracing::warn!(%fault, %org, "abandoned uploads were not looked for"),
            }
            match left(app, &org, now, LEFT).await {
                Ok(0) => {}
                Ok(n) => tracing::warn!(%org, n, "uploads were taken in that no event told of"),
                Err(fault) => tracing::warn!(%fault, %org, "uploads that no event told of wait for the next look"),
            }
        }
        tokio::select! { () = tokio::time::sleep(interval) => {}, () = &mut shutdown => return }
    }
}

/// Gives up an organization's uploads that began `older` ago or earlier; how many. `now_s`: seconds since 1970.
///
/// # Errors
/// `store.*`, `credential.*`, `config.unknown_org`.
pub async fn organization(app: &App, org: &OrgId, now_s: i64, older: Duration) -> Result<u64, Fault> {
    let rules = app.directory().uploads(org)?;
    let store = app.uploads().open(&rules.scope).await?;
    let open = store.open_uploads(&prefix()).await?;
    let mut n = 0;
    for u in open.iter().filter(|u| aged(u.begun_s, now_s, older)) {
        store.abort(&u.name, &u.id).await?;
        n += 1;
    }
    METRICS.swept(org.as_str(), n);
    Ok(n)
}

/// Takes in an organization's uploads that arrived `older` ago or earlier and were not taken in yet; how many.
///
/// # Errors
/// `store.*`, `credential.*`, `engine.*`, `config.unknown_org`: those that are left are found by the next look.
pub async fn left(app: &App, org: &OrgId, now_s: i64, older: Duration) -> Result<u64, Fault> {
    let uploads = app.directory().uploads(org)?;
    let listed = app.uploads().open(&uploads.scope).await?.list_staged(&prefix()).await?;
    let (mut n, mut stuck) = (0, None);
    for o in listed.iter().filter(|o| aged(o.modified_s, now_s, older)) {
        match one(app, org, o, uploads.max_bytes).await {
            Ok(taken) => n += u64::from(taken),
            Err(f) if matches!(f.class(), FaultClass::Transient | FaultClass::Throttled) => return Err(f),
            // It must not keep those behind it, which the bucket's rule would remove.
            Err(f) => stuck = Some(f),
        }
    }
    stuck.map_or(Ok(n), Err)
}

/// Whether it was taken in now. What was refused stays in the list until the bucket's rule removes it: of that nothing is
/// counted or told every time.
async fn one(app: &App, org: &OrgId, o: &ListedObject, max: u64) -> Result<bool, Fault> {
    let Ok(name) = rules::parse_name(&o.name) else { return Ok(false) };
    if fits(o.size, rules::declared_size(&name), max).is_err() || app.intake().known(org, Ingress::Web, &name).await? {
        return Ok(false);
    }
    match finish(app, org, &name).await {
        Ok(_) => Ok(true),
        Err(f) if f.class() == FaultClass::Rejected => {
            tracing::debug!(fault = %f, %org, upload = %name, "an upload was refused");
            Ok(false)
        }
        Err(f) => Err(f),
    }
}

fn prefix() -> String {
    format!("{}-", Ingress::Web)
}

/// Times are seconds since 1970. The store's clock may be ahead of ours.
fn aged(since_s: i64, now_s: i64, older: Duration) -> bool {
    now_s.saturating_sub(since_s) >= i64::try_from(older.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_stays() {
        let older = Duration::from_secs(60);
        assert!(!aged(1_000, 1_059, older));
        assert!(aged(1_000, 1_060, older));
        assert!(!aged(1_000, 900, older));
    }
}
