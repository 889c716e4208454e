//! Listening sockets, bound before anything else starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::StartError;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 1024;

/// A TCP socket that listens on `address`; port 0 takes a free one.
pub(super) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A server that restarts takes its port over from its last connections.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|source| StartError::Bind { address, source })
}

/// A Unix socket that listens, and what tells its file from another one's at the same path.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl UnixPath {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, unless another server has put its own there. To be called while the socket
    /// is still open: only so long nobody else can get the same inode.
    pub(super) fn remove(self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // It may be gone already; nothing else is to be done about it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = path.symlink_metadata().ok()?;
    Some((file.dev(), file.ino()))
}

/// A Unix socket at `path`. One that a server left behind that is gone is replaced, any other file is
/// not.
pub(super) fn bind_unix(path: &Path) -> Result<(UnixListener, UnixPath), StartError> {
    let bind = || -> io::Result<UnixListener> {
        let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
        if is_socket && is_dead(path)? {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = bind();
    let listener =
        listener.map_err(|source| StartError::BindUnix { path: path.to_owned(), source })?;
    Ok((listener, UnixPath::of(path)))
}

/// True where nobody listens on the socket at `path`. One that does not take us for another reason may
/// be busy, or not for us.
fn is_dead(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server that has no time to take connections would make us wait.
    socket.set_nonblocking(true)?;
    let refused = socket.connect(&SockAddr::unix(path)?).err();
    Ok(refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_an_address_taken_is_told_what_to_do() {
        let taken = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind_tcp(address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(error.ends_with("stop it, or set another address for resp or http"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no socket").unwrap();
        let error = bind_unix(&file).unwrap_err().to_string();
        assert!(error.ends_with("it is no socket; remove it, or set another resp_unix"), "{error}");
        assert!(file.is_file(), "it is not ours to remove");
    }
    #[test]
    fn only_the_socket_of_a_server_that_is_gone_is_replaced() {
        use std::os::unix::net::UnixDatagram;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Somebody else's: it takes no streams, and is not dead for that.
        let other = UnixDatagram::bind(&path).unwrap();
        let before = identity(&path);
        assert!(bind_unix(&path).is_err());
        assert_eq!(identity(&path), before);
        drop(other);
        let (first, its_path) = bind_unix(&path).unwrap();
        assert!(bind_unix(&path).is_err(), "it lives");
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        let (_second, second_path) = bind_unix(&path).unwrap();
        its_path.remove();
        assert!(path.exists(), "it is the second one's");
        second_path.remove();
        assert!(!path.exists());
        drop(first);
    }
}
