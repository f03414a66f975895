//! Systems on which peers' processes can't be looked up yet: says so.

use std::net::SocketAddr;
use std::path::PathBuf;

const NOT_SUPPORTED: &str = "looking up client processes is not supported on this system";

pub(super) struct ClientSocket {
    pub(super) inode: u32,
    pub(super) uid: u32,
}

pub(super) fn client_socket(_local: SocketAddr, _peer: SocketAddr) -> Result<ClientSocket, String> {
    Err(NOT_SUPPORTED.to_owned())
}

pub(super) fn holds(_pid: u32, _inode: u32) -> bool {
    false
}

#[derive(Debug, Default)]
pub(super) struct SocketTable;

impl SocketTable {
    pub(super) fn scan(&mut self, _all: bool) -> Result<(), String> {
        Err(NOT_SUPPORTED.to_owned())
    }

    pub(super) fn holders(&self, _inode: u32) -> Vec<u32> {
        Vec::new()
    }
}

pub(super) fn image(_pid: u32) -> Option<super::Image> {
    None
}

pub(super) fn executable(_pid: u32) -> Option<PathBuf> {
    None
}

pub(super) fn uid_of(_pid: u32) -> Option<u32> {
    None
}

pub(super) fn our_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

pub(super) fn environment(_pid: u32) -> Result<Vec<u8>, String> {
    Err(NOT_SUPPORTED.to_owned())
}
