//! What is asked of the worker, as the command asks it and altered on the way.

use super::{OnboardRig, RigPlans};
use leadline_activities::ports::checks::Plans as _;
use leadline_activities::provision::stack_plan;
use leadline_domain::Fault;
use leadline_provisioning::Plan;
use leadline_workflows::contracts::{ApplyInput, StackPlan};
use temporalio_client::WorkflowGetResultOptions;
use temporalio_client::errors::WorkflowGetResultError;
use temporalio_common::error::IncomingError;

impl OnboardRig {
    /// A plan as the command asks for it.
    pub(super) fn asked(&self, plan: &Plan) -> ApplyInput {
        let inputs = plan.org().map(|o| RigPlans(self.config.clone()).inputs(plan.env(), o).expect("configured"));
        ApplyInput {
            plan: stack_plan(plan),
            requested_by: "tests".into(),
            inputs: inputs.unwrap_or_default(),
            evidence: None,
            signature: None,
        }
    }

    /// Starts an onboarding with this plan, as it may have been altered on the way, that has to be refused.
    ///
    /// # Panics
    /// When it is not.
    pub async fn refused(&self, plan: StackPlan) -> Fault {
        let org = plan.org.clone().expect("an organization");
        let input = ApplyInput { plan, ..self.asked(&self.plan(org.as_str())) };
        self.refused_input(org.as_str(), input).await
    }

    /// The same with the plan as it is, said to be made from other files.
    ///
    /// # Panics
    /// When it is not refused.
    pub async fn refused_inputs(&self, org: &str) -> Fault {
        let input = ApplyInput { inputs: "0".repeat(64), ..self.asked(&self.plan(org)) };
        self.refused_input(org, input).await
    }

    async fn refused_input(&self, org: &str, input: ApplyInput) -> Fault {
        self.begin_with(input).await;
        match self.handle(org).get_result(WorkflowGetResultOptions::default()).await {
            Err(WorkflowGetResultError::Failed(cause)) => match &*cause {
                IncomingError::Application(a) => a.details::<Fault>().ok().flatten().expect("a fault"),
                other => panic!("{other}"),
            },
            other => panic!("{:?}", other.map(|s| s.step)),
        }
    }
}
