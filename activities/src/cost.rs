//! What a workflow costs at Temporal, counted from its history.

use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

/// Billable actions as Temporal Cloud counts them ("Actions" in its pricing documentation): starts, timers, signals,
/// activity attempts, search attribute upserts, continue-as-new, two for a child workflow, and one for each workflow
/// task that ran local activities, however many.
#[must_use]
pub fn actions(events: &[HistoryEvent]) -> u64 {
    let mut n = 0;
    let mut local = false;
    for e in events {
        match e.event_type() {
            EventType::WorkflowExecutionStarted
            | EventType::TimerStarted
            | EventType::WorkflowExecutionSignaled
            | EventType::ActivityTaskScheduled
            | EventType::UpsertWorkflowSearchAttributes
            | EventType::WorkflowExecutionContinuedAsNew
            | EventType::WorkflowExecutionUpdateAccepted => n += 1,
            EventType::StartChildWorkflowExecutionInitiated => n += 2,
            EventType::ActivityTaskStarted => {
                // Attempts after the first are further actions; the history keeps only the number of the last.
                if let Some(Attributes::ActivityTaskStartedEventAttributes(a)) = &e.attributes {
                    n += u64::try_from(a.attempt.saturating_sub(1)).unwrap_or(0);
                }
            }
            EventType::WorkflowTaskCompleted => local = false,
            EventType::MarkerRecorded if !local => {
                n += 1;
                local = true;
            }
            _ => {}
        }
    }
    n
}
