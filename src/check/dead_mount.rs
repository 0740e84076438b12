//! For tests: a file system that never answers, like that of a dead NFS server. A FUSE mount whose requests are never
//! read.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Whatever waits for it goes on with an error when this is dropped.
pub(crate) struct DeadMount {
    at: PathBuf,
    server: Option<File>,
}

impl DeadMount {
    /// `None`, and a line that says so, where this user may not mount.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let at = std::env::temp_dir().join(format!("vipcast-dead-{}-{name}", std::process::id()));
        fs::create_dir_all(&at).unwrap();
        let mounted = File::options().read(true).write(true).open("/dev/fuse").and_then(|server| {
            let options =
                format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
            let options = std::ffi::CString::new(options).unwrap();
            mount("vipcast-test", &at, "fuse", MountFlags::empty(), options.as_c_str())?;
            Ok(server)
        });
        match mounted {
            Ok(server) => Some(Self { at, server: Some(server) }),
            Err(error) => {
                eprintln!("SKIPPED: no file system that hangs can be mounted: {error}");
                fs::remove_dir(&at).unwrap();
                None
            }
        }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        Path::new(&self.at).join(name)
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        // Ends every request that hangs.
        self.server = None;
        unmount(&self.at, UnmountFlags::DETACH).unwrap();
        fs::remove_dir(&self.at).unwrap();
    }
}
