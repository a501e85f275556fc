//! What a clinic's device does to a share: creates, writes in pieces, holds open, preallocates, renames.

use smb2::client::{ClientConfig, SmbClient, Tree};
use smb2::encode_path;
use smb2::msg::create::{CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess};
use smb2::msg::query_info::InfoType;
use smb2::msg::set_info::SetInfoRequest;
use smb2::msg::write::WriteRequest;
use smb2::pack::{ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, CreditCharge, FileId, OplockLevel};
use smb2::{Error, Result};
use std::time::Duration;

/// FileEndOfFileInformation (MS-FSCC 2.4.14).
const END_OF_FILE: u8 = 20;
/// Bytes of one write.
const WRITE: usize = 64 * 1024;
/// Header and fixed part of a WRITE request (MS-SMB2 2.2.21).
const DATA_OFFSET: u16 = 64 + 48;

/// A device with a session of its own.
pub struct Device {
    client: SmbClient,
    tree: Tree,
}

/// A file that the device has open for writing. Others may read it meanwhile.
pub struct OpenFile<'a> {
    device: &'a Device,
    id: FileId,
}

impl Device {
    /// Logs on.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn connect(address: &str, share: &str, user: &str, password: &str) -> Result<Self> {
        let config = ClientConfig {
            addr: address.into(),
            username: user.into(),
            password: password.into(),
            response_timeout: Some(Duration::from_secs(30)),
            dfs_enabled: false,
            compression: false,
            ..Default::default()
        };
        let mut client = SmbClient::connect(config).await?;
        let tree = client.connect_share(share).await?;
        Ok(Self { client, tree })
    }

    /// Creates or truncates a file and keeps it open.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn create(&self, path: &str) -> Result<OpenFile<'_>> {
        let request = CreateRequest {
            requested_oplock_level: OplockLevel::None,
            impersonation_level: ImpersonationLevel::Impersonation,
            desired_access: FileAccessMask::new(
                FileAccessMask::FILE_WRITE_DATA
                    | FileAccessMask::FILE_APPEND_DATA
                    | FileAccessMask::FILE_READ_ATTRIBUTES,
            ),
            file_attributes: 0,
            share_access: ShareAccess(ShareAccess::FILE_SHARE_READ | ShareAccess::FILE_SHARE_DELETE),
            create_disposition: CreateDisposition::FileOverwriteIf,
            create_options: 0x40,
            name: encode_path(path).to_string(),
            create_contexts: vec![],
        };
        let conn = self.client.connection().clone();
        let f = succeeded(conn.execute(Command::Create, &request, Some(self.tree.tree_id)).await?, Command::Create)?;
        let id = CreateResponse::unpack(&mut ReadCursor::new(&f.body))?.file_id;
        Ok(OpenFile { device: self, id })
    }

    /// Writes a whole file and closes it.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut f = self.create(path).await?;
        f.write(0, bytes).await?;
        f.close().await
    }

    /// Makes a folder; one that is there is success.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn mkdir(&self, path: &str) -> Result<()> {
        match self.tree.create_directory(&mut self.client.connection().clone(), path).await {
            Err(e) if e.kind() == smb2::ErrorKind::AlreadyExists => Ok(()),
            r => r,
        }
    }

    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn replace(&self, from: &str, to: &str) -> Result<()> {
        let options = smb2::RenameOptions::new().replace_if_exists(true);
        self.tree.rename_with(&mut self.client.connection().clone(), from, to, options).await
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.tree.delete_file(&mut self.client.connection().clone(), path).await
    }

    /// Names of the files below a folder, with their folders, sorted.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let (mut out, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(dir) = folders.pop() {
            for e in self.tree.list_directory(&mut self.client.connection().clone(), &dir).await? {
                let path = if dir.is_empty() { e.name.clone() } else { format!("{dir}/{}", e.name) };
                match e.is_directory {
                    true if e.name == "." || e.name == ".." => {}
                    true => folders.push(path),
                    false => out.push(path),
                }
            }
        }
        out.sort();
        Ok(out)
    }
}

impl OpenFile<'_> {
    /// Writes at an offset.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let conn = self.device.client.connection().clone();
        for (n, data) in bytes.chunks(WRITE).enumerate() {
            let request = WriteRequest {
                data_offset: DATA_OFFSET,
                offset: offset + (n * WRITE) as u64,
                file_id: self.id,
                channel: 0,
                remaining_bytes: 0,
                write_channel_info_offset: 0,
                write_channel_info_length: 0,
                flags: 0,
                data: data.to_vec(),
            };
            let tree = Some(self.device.tree.tree_id);
            let f = conn.execute_with_credits(Command::Write, &request, tree, CreditCharge(1)).await?;
            succeeded(f, Command::Write)?;
        }
        Ok(())
    }

    /// Sets the length, as a device that preallocates does.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn set_len(&mut self, len: u64) -> Result<()> {
        let request = SetInfoRequest {
            info_type: InfoType::File,
            file_info_class: END_OF_FILE,
            additional_information: 0,
            file_id: self.id,
            buffer: len.to_le_bytes().to_vec(),
        };
        let conn = self.device.client.connection().clone();
        let f = conn.execute(Command::SetInfo, &request, Some(self.device.tree.tree_id)).await?;
        succeeded(f, Command::SetInfo).map(|_| ())
    }

    /// Closes it: the device is done.
    ///
    /// # Errors
    /// Whatever the server or the network says.
    pub async fn close(self) -> Result<()> {
        self.device.tree.close_handle(&mut self.device.client.connection().clone(), self.id).await
    }
}

fn succeeded(f: smb2::client::Frame, command: Command) -> Result<smb2::client::Frame> {
    if f.header.status == NtStatus::SUCCESS { Ok(f) } else { Err(Error::Protocol { status: f.header.status, command }) }
}
