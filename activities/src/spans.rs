//! Whom an activity works for, on every line that it logs: one span around each of them, local ones included.

use leadline_domain::{FileKey, LedgerEntry, OrgId, ShareId};
use leadline_workflows::contracts::{
    AddUpInput, ArchiveInput, CanarySending, CanaryShot, ClaimInput, ConcludeInput, EnqueueInput, ExecuteInput,
    FileRef, JudgeMember, StackPlan, StoreInput, WatchInput,
};
use leadline_workflows::offboard::{Certificate, ExportInput};
use leadline_workflows::{checks, deletion, evidence, rotate, transfer};
use temporalio_sdk::interceptors::{ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next};
use tracing::Instrument as _;
use tracing::field::Empty;

/// Opens the span.
pub(crate) struct Spans;

impl ActivityInboundInterceptor for Spans {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let info = input.activity_info();
        // Of the level of errors, so that a line has it however little is logged.
        let span = tracing::error_span!(
            "activity",
            activity = %info.activity_type,
            workflow = info.workflow_id.as_deref(),
            attempt = info.attempt,
            org = Empty,
            share = Empty,
            file = Empty,
        );
        let subject = subject(&input);
        if let Some(org) = &subject.org {
            span.record("org", org.as_str());
        }
        if let Some(share) = &subject.share {
            span.record("share", share.as_str());
        }
        if let Some(file) = &subject.file {
            span.record("file", file);
        }
        Box::pin(next.run(input).instrument(span))
    }
}

/// Ids and hashes: never a name or a path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Subject {
    org: Option<OrgId>,
    share: Option<ShareId>,
    /// The file's key, as `leadline file show` takes it.
    file: Option<String>,
}

impl Subject {
    fn of_org(org: &OrgId) -> Self {
        Self { org: Some(org.clone()), ..Self::default() }
    }

    fn of_share(org: &OrgId, share: &ShareId) -> Self {
        Self { share: Some(share.clone()), ..Self::of_org(org) }
    }
}

/// What works for somebody.
trait Names {
    fn subject(&self) -> Subject;
}

/// What is known of an input of any of these types; of another one, only the workflow's id tells.
fn subject(input: &ExecuteActivityInput) -> Subject {
    macro_rules! of {
        ($($t:ty),+ $(,)?) => {
            [$(input.args_ref::<$t>().map(Names::subject)),+].into_iter().flatten().next().unwrap_or_default()
        };
    }
    of!(
        FileRef,
        StoreInput,
        ArchiveInput,
        ConcludeInput,
        AddUpInput,
        Vec<JudgeMember>,
        ClaimInput,
        EnqueueInput,
        Vec<LedgerEntry>,
        WatchInput,
        OrgId,
        StackPlan,
        ExecuteInput,
        CanaryShot,
        CanarySending,
        checks::ProbeOthers,
        checks::DriftInput,
        rotate::RotateInput,
        transfer::TransferInput,
        evidence::CollectInput,
        ExportInput,
        Certificate,
        deletion::DeletionInput,
        deletion::OpenInput,
        deletion::DismantleInput,
        deletion::DeletionCertificate,
    )
}

impl Names for FileRef {
    fn subject(&self) -> Subject {
        let key: FileKey = self.fingerprint.file_key(&self.org, &self.share);
        Subject { file: Some(key.to_string()), ..Subject::of_share(&self.org, &self.share) }
    }
}

/// Of a set: whose, and where. Its files are as good as each other.
impl Names for Vec<JudgeMember> {
    fn subject(&self) -> Subject {
        self.first().map(|m| Subject::of_share(&m.file.org, &m.file.share)).unwrap_or_default()
    }
}

impl Names for Vec<LedgerEntry> {
    fn subject(&self) -> Subject {
        match self.as_slice() {
            [] => Subject::default(),
            [e] => Subject { file: Some(e.file.clone()), ..Subject::of_share(&e.organization, &e.share) },
            [e, ..] => Subject::of_share(&e.organization, &e.share),
        }
    }
}

impl Names for WatchInput {
    fn subject(&self) -> Subject {
        Subject::of_share(&self.org, &self.share)
    }
}

impl Names for CanaryShot {
    fn subject(&self) -> Subject {
        Subject::of_share(&self.org, &self.share)
    }
}

impl Names for CanarySending {
    fn subject(&self) -> Subject {
        Subject::of_org(&self.org)
    }
}

impl Names for rotate::RotateInput {
    fn subject(&self) -> Subject {
        Subject::of_share(&self.org, &self.share)
    }
}

impl Names for StackPlan {
    fn subject(&self) -> Subject {
        self.org.as_ref().map(Subject::of_org).unwrap_or_default()
    }
}

impl Names for checks::DriftInput {
    fn subject(&self) -> Subject {
        self.org.as_ref().map(Subject::of_org).unwrap_or_default()
    }
}

impl Names for OrgId {
    fn subject(&self) -> Subject {
        Subject::of_org(self)
    }
}

/// Those that work for what they hold.
macro_rules! through {
    ($($t:ty: $($field:ident).+),+ $(,)?) => {
        $(impl Names for $t {
            fn subject(&self) -> Subject {
                self.$($field).+.subject()
            }
        })+
    };
}

through!(
    StoreInput: file,
    ArchiveInput: file,
    ConcludeInput: archive.file,
    AddUpInput: file,
    ClaimInput: org,
    EnqueueInput: org,
    ExecuteInput: apply.plan,
    checks::ProbeOthers: org,
    transfer::TransferInput: transfer.org,
    evidence::CollectInput: org,
    ExportInput: org,
    Certificate: organization,
    deletion::DeletionInput: org,
    deletion::OpenInput: opening,
    deletion::DismantleInput: org,
    deletion::DeletionCertificate: organization,
);
