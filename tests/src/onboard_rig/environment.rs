//! The environment's own stack, changed again and again.

use super::{OnboardRig, connect, environment_plan, loaded};
use crate::harness::tools::eventually;
use crate::onboard_faults::{Plight, locked};
use leadline_activities::adapters::aws::CfnStacks;
use leadline_activities::ports::stacks::{ChangeSetState, Stacks as _};
use leadline_domain::FaultCode;
use leadline_workflows::ApplyEnvironment;
use leadline_workflows::onboard::ApplyStatus;
use std::sync::Mutex;
use std::time::Duration;
use temporalio_client::{WorkflowQueryOptions, WorkflowSignalOptions};

impl OnboardRig {
    /// Applies the environment with another setting of its audit queue, from the worker's files on. `during` is awaited
    /// once it has begun. Returns its end, the fault codes that were waited for, and what of it is not as planned.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub async fn environment_changed(
        &mut self,
        seconds: u32,
        during: Option<&str>,
        plights: &[(&'static str, Plight)],
        limit: Duration,
    ) -> (ApplyStatus, Vec<FaultCode>, Vec<String>) {
        let path = self.dir.join("test.toml");
        let text = std::fs::read_to_string(&path).expect("read");
        let text = text.split("[audit_queue]").next().unwrap_or_default();
        std::fs::write(&path, format!("{text}[audit_queue]\nvisibility_timeout_s = {seconds}\n")).expect("written");
        self.config = loaded(&self.dir);
        self.kill();
        self.work();
        for (operation, plight) in plights {
            self.plights.plan("", operation, plight.clone());
        }
        let plan = environment_plan(&self.config);
        let handle = self.begin_environment(plan.clone()).await;
        if let Some(what) = during {
            eventually(what, limit, || async { (self.plights.left("") == 0).then_some(()) }).await;
            self.kill();
            self.work();
        }
        let waited = Mutex::new(Vec::new());
        let status = eventually("the environment is applied", limit, || async {
            let query = handle.query(ApplyEnvironment::status, (), WorkflowQueryOptions::default());
            let s = tokio::time::timeout(Duration::from_secs(5), query).await.ok()?.ok()?;
            if s.step == "done" {
                return Some(s);
            }
            let code = s.paused?.code;
            if locked(&waited).last() != Some(&code) {
                locked(&waited).push(code);
            }
            let _ = handle.signal(ApplyEnvironment::resume, (), WorkflowSignalOptions::default()).await;
            None
        })
        .await;
        let (stacks, name) = (CfnStacks::new(&connect(&self.url).await), plan.stack());
        let mut wrong = Vec::new();
        if stacks.template(name).await.expect("answered") != Some(plan.template_text()) {
            wrong.push("its template".to_owned());
        }
        let state = stacks.describe(name).await.expect("described").map(|s| s.status).unwrap_or_default();
        if state != "UPDATE_COMPLETE" {
            wrong.push(format!("its stack is {state}"));
        }
        let change_set = format!("leadline-{}", &plan.digest()[..32]);
        if let left @ (ChangeSetState::Pending | ChangeSetState::Ready(_)) =
            stacks.change_set(name, &change_set).await.expect("answered")
        {
            wrong.push(format!("a change set is left: {left:?}"));
        }
        for id in &status.schedules {
            if self.engine.client().get_schedule_handle(id).describe(Default::default()).await.is_err() {
                wrong.push(format!("there is no schedule {id}"));
            }
        }
        (status, locked(&waited).clone(), wrong)
    }
}
