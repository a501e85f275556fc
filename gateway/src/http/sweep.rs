//! Uploads in parts that nobody goes on with are given up: their parts cost money and no list shows them.

use super::App;
use super::metrics::METRICS;
use leadline_activities::ports::uploads::OpenUpload;
use leadline_domain::{Fault, Ingress, OrgId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an upload may take: a day, for a video over a slow line with a night in between.
pub const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// How often to look.
pub const INTERVAL: Duration = Duration::from_secs(3600);

/// Looks at every interval until `shutdown` ends.
pub async fn run(app: &App, older: Duration, interval: Duration, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        for org in app.directory().uploading() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            match organization(app, &org, i64::try_from(now.as_secs()).unwrap_or(i64::MAX), older).await {
                Ok(0) => {}
                Ok(n) => tracing::info!(%org, n, "abandoned uploads were given up"),
                // The next look will find them too, and the bucket's own rule after seven days.
                Err(fault) => tracing::warn!(%fault, %org, "abandoned uploads were not looked for"),
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
    let open = store.open_uploads(&format!("{}-", Ingress::Web)).await?;
    let mut n = 0;
    for u in open.iter().filter(|u| abandoned(u, now_s, older)) {
        store.abort(&u.name, &u.id).await?;
        n += 1;
    }
    METRICS.swept(org.as_str(), n);
    Ok(n)
}

fn abandoned(u: &OpenUpload, now_s: i64, older: Duration) -> bool {
    let older = i64::try_from(older.as_secs()).unwrap_or(i64::MAX);
    now_s.saturating_sub(u.begun_s) >= older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_uploads_stay() {
        let u = OpenUpload { name: "web-x".into(), id: "1".into(), begun_s: 1_000 };
        assert!(!abandoned(&u, 1_059, Duration::from_secs(60)));
        assert!(abandoned(&u, 1_060, Duration::from_secs(60)));
        // The store's clock may be ahead of ours.
        assert!(!abandoned(&u, 900, Duration::from_secs(60)));
    }
}
