//! What is there already, changed: every organization's stack, and the environment's own.

use super::{OnboardRig, REFERENCE, change_set_left, connect, environment_plan, loaded};
use crate::harness::tools::eventually;
use crate::onboard_faults::{Plight, locked};
use leadline_activities::adapters::aws::CfnStacks;
use leadline_activities::ports::stacks::Stacks as _;
use leadline_domain::FaultCode;
use leadline_workflows::UpdateEnvironment;
use leadline_workflows::onboard::ApplyStatus;
use std::sync::Mutex;
use std::time::Duration;
use temporalio_client::{WorkflowQueryOptions, WorkflowSignalOptions};

impl OnboardRig {
    /// Changes what the stack of each of these organizations, and of [`REFERENCE`], is made from, for the worker too.
    ///
    /// # Panics
    /// When a file is not right then, or the worker does not start again.
    pub fn edit_each(&mut self, orgs: &[String], from: &str, to: &str) {
        for org in orgs.iter().map(String::as_str).chain([REFERENCE]) {
            self.edit(org, from, to);
        }
        self.edited = true;
        self.again();
    }

    /// Kills the worker and starts another.
    fn again(&mut self) {
        self.kill();
        self.work();
    }

    /// Applies the environment with another setting of its audit queue while its calls meet these plights; the worker is
    /// killed in each that hangs. Returns its end, the fault codes that were waited for, and what is not as planned.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub async fn environment_changed(
        &mut self,
        plights: &[(&'static str, Plight)],
        limit: Duration,
    ) -> (ApplyStatus, Vec<FaultCode>, Vec<String>) {
        let path = self.dir.join("test.toml");
        let text = std::fs::read_to_string(&path).expect("read");
        let text = text.split("[audit_queue]").next().unwrap_or_default();
        std::fs::write(&path, format!("{text}[audit_queue]\nvisibility_timeout_s = 60\n")).expect("written");
        self.config = loaded(&self.dir);
        self.again();
        for (operation, plight) in plights {
            self.plights.plan("", operation, plight.clone());
        }
        let plan = environment_plan(&self.config);
        let handle = self.begin_environment(plan.clone()).await;
        let hang = plights.iter().filter(|(_, p)| matches!(p, Plight::Hang | Plight::HangAfter)).count();
        for still in (0..hang).rev() {
            let what = format!("the calls that hang are {still} fewer");
            eventually(&what, limit, || async { (self.plights.left("") <= still).then_some(()) }).await;
            self.again();
        }
        let waited = Mutex::new(Vec::new());
        let status = eventually("the environment is applied", limit, || async {
            let query = handle.query(UpdateEnvironment::status, (), WorkflowQueryOptions::default());
            let s = tokio::time::timeout(Duration::from_secs(5), query).await.ok()?.ok()?;
            if s.step == "done" {
                return Some(s);
            }
            let code = s.paused?.code;
            if locked(&waited).last() != Some(&code) {
                locked(&waited).push(code);
            }
            let _ = handle.signal(UpdateEnvironment::resume, (), WorkflowSignalOptions::default()).await;
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
        let left = change_set_left(&stacks, name, plan.digest()).await;
        if left != "none" {
            wrong.push(format!("a change set is left: {left}"));
        }
        for id in &status.schedules {
            if self.engine.client().get_schedule_handle(id).describe(Default::default()).await.is_err() {
                wrong.push(format!("there is no schedule {id}"));
            }
        }
        (status, locked(&waited).clone(), wrong)
    }
}
