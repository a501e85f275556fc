//! Devices for the contract of shares: one over SMB, one of the share in memory.

use super::share::{Device, OpenFile};
use crate::device;
use async_trait::async_trait;
use leadline_activities::adapters::smb_fake::{FakeFile, FakeShare};

#[async_trait]
impl Device for device::Device {
    async fn create(&self, path: &str) -> Box<dyn OpenFile + '_> {
        Box::new(self.create(path).await.expect("the device creates"))
    }
    async fn mkdir(&self, path: &str) {
        self.mkdir(path).await.expect("the device makes a folder");
    }
    async fn delete(&self, path: &str) {
        self.delete(path).await.expect("the device deletes");
    }
    async fn replace(&self, from: &str, to: &str) {
        self.replace(from, to).await.expect("the device renames");
    }
}

#[async_trait]
impl OpenFile for device::OpenFile<'_> {
    async fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.write(offset, bytes).await.expect("the device writes");
    }
    async fn set_len(&mut self, len: u64) {
        self.set_len(len).await.expect("the device sets a length");
    }
    async fn close(self: Box<Self>) {
        (*self).close().await.expect("the device closes");
    }
}

#[async_trait]
impl Device for FakeShare {
    async fn create(&self, path: &str) -> Box<dyn OpenFile + '_> {
        Box::new(self.create(path))
    }
    async fn mkdir(&self, path: &str) {
        self.make_folder(path);
    }
    async fn delete(&self, path: &str) {
        self.delete(path);
    }
    async fn replace(&self, from: &str, to: &str) {
        self.replace(from, to);
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("fits into memory")
}

#[async_trait]
impl OpenFile for FakeFile {
    async fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.write(index(offset), bytes);
    }
    async fn set_len(&mut self, len: u64) {
        self.set_len(index(len));
    }
    async fn close(self: Box<Self>) {
        (*self).close();
    }
}
