//! The one place where an SMB error becomes a [`Fault`]. Texts carry the operation and the status, never a path.

use leadline_domain::{Fault, FaultCode};
use smb2::types::status::NtStatus;
use smb2::{Error, ErrorKind};

/// What was being done: the same status means different things at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Connect,
    LogOn,
    ConnectShare,
    List,
    Look,
    Read,
    Rename,
    Remove,
    MakeFolder,
    Watch,
}

pub(super) fn fault(doing: Doing, e: &Error) -> Fault {
    let code = code(doing, e);
    let status = e.status().map_or_else(|| format!("{:?}", e.kind()), |s| format!("{s:?}"));
    Fault::new(code, format!("{doing:?}: {status}"))
}

fn code(doing: Doing, e: &Error) -> FaultCode {
    let status = e.status();
    if let Some(s) = status {
        if s == NtStatus::BAD_NETWORK_NAME {
            return FaultCode::ShareMissing;
        }
        if matches!(s, NtStatus::DELETE_PENDING) {
            return FaultCode::ShareFileGone;
        }
    }
    match e.kind() {
        ErrorKind::AuthRequired | ErrorKind::GuestSessionRefused => FaultCode::ShareLogonRefused,
        ErrorKind::SigningRequired | ErrorKind::SignatureInvalid => FaultCode::ShareInsecure,
        ErrorKind::AccessDenied if doing == Doing::LogOn => FaultCode::ShareLogonRefused,
        ErrorKind::AccessDenied => FaultCode::ShareAccessDenied,
        ErrorKind::NotFound | ErrorKind::NotADirectory if matches!(doing, Doing::List | Doing::Watch) => {
            FaultCode::ShareFolderMissing
        }
        ErrorKind::NotFound if doing == Doing::ConnectShare => FaultCode::ShareMissing,
        // The folder above is not there: to a file that means the same.
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => FaultCode::ShareFileGone,
        ErrorKind::InvalidName => FaultCode::ShareFileGone,
        ErrorKind::AlreadyExists => FaultCode::ShareNameTaken,
        ErrorKind::SharingViolation => FaultCode::ShareFileLocked,
        ErrorKind::DiskFull => FaultCode::ShareFull,
        ErrorKind::TimedOut => FaultCode::ShareTimeout,
        ErrorKind::InvalidData => FaultCode::ShareProtocol,
        // Io covers name resolution too, which smb2 calls final; a clinic's name server comes back like its file server.
        ErrorKind::ConnectionLost | ErrorKind::SessionExpired | ErrorKind::Io | ErrorKind::Cancelled => {
            FaultCode::ShareUnreachable
        }
        _ => FaultCode::ShareProtocol,
    }
}

/// Whether the connection is of no more use.
pub(super) fn loses_connection(code: FaultCode) -> bool {
    matches!(
        code,
        FaultCode::ShareUnreachable | FaultCode::ShareTimeout | FaultCode::ShareProtocol | FaultCode::ShareInsecure
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use smb2::types::Command;

    fn protocol(status: NtStatus) -> Error {
        Error::Protocol { status, command: Command::Create }
    }

    #[test]
    fn statuses() {
        for (doing, status, expected) in [
            (Doing::LogOn, NtStatus::LOGON_FAILURE, FaultCode::ShareLogonRefused),
            (Doing::LogOn, NtStatus::ACCOUNT_LOCKED_OUT, FaultCode::ShareLogonRefused),
            (Doing::ConnectShare, NtStatus::BAD_NETWORK_NAME, FaultCode::ShareMissing),
            (Doing::Look, NtStatus::ACCESS_DENIED, FaultCode::ShareAccessDenied),
            (Doing::Look, NtStatus::OBJECT_NAME_NOT_FOUND, FaultCode::ShareFileGone),
            (Doing::List, NtStatus::OBJECT_PATH_NOT_FOUND, FaultCode::ShareFolderMissing),
            (Doing::Rename, NtStatus::OBJECT_NAME_COLLISION, FaultCode::ShareNameTaken),
            (Doing::Rename, NtStatus::SHARING_VIOLATION, FaultCode::ShareFileLocked),
            (Doing::MakeFolder, NtStatus::DISK_FULL, FaultCode::ShareFull),
            (Doing::Read, NtStatus::NETWORK_NAME_DELETED, FaultCode::ShareUnreachable),
        ] {
            assert_eq!(fault(doing, &protocol(status)).code, expected, "{doing:?} {status:?}");
        }
        let unresolved = Error::Io(std::io::Error::other("no such host"));
        assert_eq!(fault(Doing::Connect, &unresolved).code, FaultCode::ShareUnreachable);
        assert_eq!(fault(Doing::Read, &Error::Timeout).code, FaultCode::ShareTimeout);
    }

    #[test]
    fn texts_hold_no_path() {
        let e = Error::ResumeRefused {
            path: "in/DOE_JOHN.dcm".into(),
            offset: 0,
            reason: smb2::error::ResumeRefusal::Missing,
        };
        assert!(!fault(Doing::Read, &e).detail.contains("DOE"));
    }
}
